"""A GPU's figures, from a pretended driver: only what it knows is there."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.support.nvml_driver import NvmlDriver
from trainables import gpu_meter
from trainables.gpu_meter import ENERGY, GpuMeter


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Seconds, as the test says."""
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(gpu_meter, "time", SimpleNamespace(perf_counter=lambda: now.seconds))
    return now


def metered(clock: SimpleNamespace, share: float = 1.0, known: bool = True) -> GpuMeter:
    return GpuMeter(NvmlDriver(lambda: clock.seconds, known), "card", share)


@pytest.mark.parametrize("share", [1.0, 0.25])
def test_power_is_the_cards_and_energy_the_trials_share(share: float, clock: SimpleNamespace) -> None:
    meter = metered(clock, share)
    clock.seconds += 18
    assert meter.spent() == {"system/gpu_0_power_usage_watts": 200.0, ENERGY: share}
    clock.seconds += 36
    assert meter.spent()[ENERGY] == 2 * share
    clock.seconds += 1000
    meter.start()
    clock.seconds += 18
    assert meter.spent()[ENERGY] == share


def test_load_bears_the_names_of_mlflow(clock: SimpleNamespace) -> None:
    assert metered(clock).load() == {
        "system/gpu_0_utilization_percentage": 87.0,
        "system/gpu_0_memory_usage_megabytes": 20.0,
        "system/gpu_0_memory_usage_percentage": 25.0,
    }


def test_what_the_card_does_not_know_has_no_figure(clock: SimpleNamespace) -> None:
    meter = metered(clock, known=False)
    clock.seconds += 18
    assert (meter.load(), meter.spent()) == ({}, {})


def test_without_a_gpu_there_is_no_meter() -> None:
    assert gpu_meter.find(0.0) is None
