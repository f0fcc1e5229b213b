"""How trials share a machine."""

from __future__ import annotations

import pytest

from orchestrator.resources import Resources, plan


@pytest.mark.parametrize(
    ("machine", "options", "expected"),
    [
        ((2, 0), {"trials": 10}, Resources(2, 1, 0)),
        ((2, 0), {"trials": 1}, Resources(1, 2, 0)),
        ((8, 0), {"trials": 10, "max_concurrent": 2}, Resources(2, 4, 0)),
        ((8, 0), {"trials": 10, "cpus_per_trial": 3}, Resources(2, 3, 0)),
        ((16, 2), {"trials": 10}, Resources(2, 8, 1)),
        ((16, 1), {"trials": 10, "gpus_per_trial": 0.25}, Resources(4, 4, 0.25)),
        ((16, 8), {"trials": 10, "gpus_per_trial": 2}, Resources(4, 4, 2)),
        ((16, 1), {"trials": 10, "gpus_per_trial": 0}, Resources(10, 1, 0)),
        ((2, 1), {"trials": 10, "gpus_per_trial": 0.25}, Resources(2, 1, 0.25)),
    ],
)
def test_plan(machine: tuple[int, float], options: dict, expected: Resources) -> None:
    assert plan(*machine, **options) == expected


def test_more_than_there_is_says_what_to_do() -> None:
    with pytest.raises(ValueError, match="only 0 GPUs here"):
        plan(2, 0, trials=1, gpus_per_trial=1)
    with pytest.raises(ValueError, match="only 2 cores here"):
        plan(2, 0, trials=1, cpus_per_trial=4)
