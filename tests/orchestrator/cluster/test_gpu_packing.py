"""How many trials share a GPU, and what is measured to know it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from orchestrator.cluster import gpu_packing
from orchestrator.cluster.gpu_packing import MOST, Need, gpus_per_trial, largest, need, pack, train_briefly
from orchestrator.cluster.resources import Host
from search_spaces import SPACES
from trainables.data import Prepared
from trainables.tasks import TASKS
from trainables.training import Training

GIB = 2**30
SMALL = {"seg": ("pspnet", "mobilenetv3_large_100"), "cls": ("mobilenetv3_small", "mobilenetv3_small_100")}
SMALL["multi"] = SMALL["seg"]


def small(task: str, **changed: Any) -> dict[str, Any]:
    (config,) = largest(task, [SMALL[task]], image_size=64, classes=3, batch_size=8)
    return {**config, **changed}


@pytest.mark.parametrize(
    ("gib", "machine", "trials"),
    [
        ((6.1, 79), {"cpus": 32, "gpus": 1}, 11),  # memory
        ((6.1, 79), {"cpus": 8, "gpus": 1}, 8),  # cores
        ((6.1, 79), {"cpus": 16, "gpus": 8}, 2),  # cores, shared by the GPUs
        ((6.1, 79), {"cpus": 16, "gpus": 1, "cpus_per_trial": 3}, 5),
        ((1, 140), {"cpus": 64, "gpus": 1}, MOST),
        ((40, 79), {"cpus": 16, "gpus": 1}, 1),  # two would leave no headroom
        ((75, 79), {"cpus": 16, "gpus": 1}, 1),  # nor does one, and yet it fits
        ((1, 79), {"cpus": 2, "gpus": 4}, 1),
    ],
)
def test_as_many_as_memory_and_cores_allow(gib: tuple[float, float], machine: dict[str, int], trials: int) -> None:
    used, total = (int(number * GIB) for number in gib)
    found, reason = pack(Need("unet, batch 32", used, total), **machine)
    assert found == trials
    assert reason.startswith(f"{trials} trial")
    assert f"unet, batch 32, needs {gib[0]} of {gib[1]} GiB" in reason
    assert "\n" not in reason


def test_the_reason_names_both_limits() -> None:
    _, reason = pack(Need("unetplusplus resnet50, batch 32", int(6.1 * GIB), 79 * GIB), cpus=16, gpus=2)
    assert reason == (
        "8 trials a GPU: memory allows 11 (unetplusplus resnet50, batch 32, needs 6.1 of 79 GiB), "
        "cores allow 8 (16 for 2 GPUs), 16 is the most"
    )


def test_what_does_not_fit_alone_gets_a_gpu_and_smaller_batches() -> None:
    trials, reason = pack(Need("unet, batch 512", 79 * GIB, 79 * GIB), cpus=16, gpus=1)
    assert trials == 1
    assert reason == "1 trial a GPU: unet, batch 512 does not fit in 79 GiB; where memory runs out, batches are halved"


def test_without_a_gpu_there_is_nothing_to_measure(prepared: Prepared) -> None:
    assert gpus_per_trial("seg", [small("seg")], prepared, {}, Host(16)) == (0.0, "")


def test_the_smallest_card_of_all_decides(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_packing, "measure", lambda *given: Need("unet, batch 32", 5 * GIB, 80 * GIB))
    given = ("seg", [small("seg")], prepared, {}, Host(64, 1), 1)
    assert gpus_per_trial(*given) == gpus_per_trial(*given, 80 * GIB)
    fraction, reason = gpus_per_trial(*given, 16 * GIB)
    assert fraction == 0.5
    assert "memory allows 2 (unet, batch 32, needs 5 of 16 GiB)" in reason
    assert "does not fit in 4 GiB" in gpus_per_trial(*given, 4 * GIB)[1]


def test_the_costliest_pairs_at_their_largest() -> None:
    space = SPACES["seg"]
    pairs = [(name, encoder) for name, entry in space.ARCHITECTURES.items() for encoder in entry.encoders or ("",)]
    configs = largest("seg", pairs + pairs, image_size=128, classes=3, batch_size=32)
    found = [(config["architecture"], config["encoder"]) for config in configs]
    # Most activations and most parameters of all: deeplabv3 with convnext_tiny, manet with resnet50.
    assert found == [
        ("deeplabv3", "convnext_tiny"),
        ("unetplusplus", "resnet50"),
        ("resunet", ""),
        ("manet", "resnet50"),
    ]
    assert {(config["batch_size"], config["ema"], config["optimizer"]) for config in configs} == {(32, 0.99, "adamw")}


@pytest.mark.parametrize("task", TASKS)
def test_a_brief_training_holds_all_that_a_trial_holds(task: str, prepared: Prepared) -> None:
    frozen = small(task, batch_size=4, freeze_epochs=3)  # as recipes begin: in their first epochs they need less
    training = train_briefly(task, frozen, prepared, None, "cpu")
    assert training.averaged is not None
    moments = training.optimizer.state.values()
    assert len(list(moments)) == len(list(training.model.parameters()))
    assert all({"exp_avg", "exp_avg_sq"} <= set(state) for state in moments)
    assert {int(state["step"]) for state in moments} == {2}


def test_a_brief_training_sees_a_batch_of_the_largest_size(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    backward = Training._backward
    monkeypatch.setattr(
        Training, "_backward", lambda self, batch, most: sizes.append(most) or backward(self, batch, most)
    )
    train_briefly("seg", small("seg", batch_size=4), prepared, None, "cpu")
    assert sizes == [4, 5]  # a last batch of one image is joined to the one before


@pytest.mark.cuda
def test_a_small_configuration_is_measured_and_packed(prepared: Prepared, ray_local: None) -> None:
    fraction, reason = gpus_per_trial("seg", [small("seg")], prepared, {}, Host(4, 1))
    assert fraction == 0.25, reason  # so small a network leaves the cores as the limit
    assert "pspnet" in reason


@pytest.mark.cuda
def test_what_runs_out_of_memory_counts_as_the_whole_gpu(prepared: Prepared) -> None:
    fitting = need("seg", small("seg"), prepared, None)
    assert 0 < fitting.used < fitting.total
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(100 * 2**20 / fitting.total)  # the weights of resunet alone need more
    try:
        short = need("seg", small("seg", architecture="resunet", encoder=""), prepared, None)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert short.used == short.total
