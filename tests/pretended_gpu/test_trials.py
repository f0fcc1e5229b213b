"""Whole trials on a pretended GPU: nothing mixes devices, nothing is left, and a resumed one is the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from search_spaces import Config
from tests.pretended_gpu.conftest import configuration, emptied
from tests.support.nvml_driver import NvmlDriver
from tests.support.pretended_gpu import PretendedGpu
from trainables import optimizers, trial
from trainables.data import Prepared
from trainables.gpu_meter import ENERGY, GpuMeter
from trainables.inference import predict
from trainables.training import Training
from trainables.trial import Trial, TrialContext

#: Encoders with few operations: the time of the pretended GPU goes by their number.
ALL = [
    *(("seg", "unet", ""), ("seg", "smp_unet", "resnet18"), ("seg", "fpn", "resnet18")),
    *(("seg", "linknet", "mobilenetv3_large_100"), ("seg", "segformer", "resnet18"), ("seg", "pspnet", "resnet18")),
    *(("cls", "mobilenetv3_small", "mobilenetv3_small_100"), ("cls", "resnet18", "resnet18")),
    *(("cls", "convnext_atto", "convnext_atto"), ("cls", "vit_tiny", "vit_tiny_patch16_224")),
    *(("multi", "pan", "resnet18"), ("multi", "deeplabv3plus", "resnet18")),
]


def started(config: Config, task: str, data: Prepared) -> Trial:
    one = Trial.__new__(Trial)
    one.setup(config, TrialContext(task, data, gpus=1.0))
    return one


@pytest.mark.parametrize(("task", "architecture", "encoder"), ALL, ids=[f"{task}-{name}" for task, name, _ in ALL])
def test_an_epoch_saved_restored_reset_and_predicted(
    task: str, architecture: str, encoder: str, data: Prepared, gpu: PretendedGpu, tmp_path: Path
) -> None:
    config = configuration(task, architecture, encoder)
    one = started(config, task, data)
    result = one.step()
    assert all(isinstance(value, float | int | bool) for value in result.values())
    assert {tensor.device.type for tensor in one.weights.values()} == {"cpu"}
    one.save_checkpoint(str(emptied(tmp_path / "checkpoint")))
    said = predict(one.training.best_model, data.images[:3], tta=True)
    assert {part.device.type for part in (said if isinstance(said, tuple) else (said,))} == {"cpu"}
    assert one.reset_config(config | {"seed": 1})
    one.load_checkpoint(str(tmp_path / "checkpoint"))
    assert {parameter.device.type for parameter in one.training.model.parameters()} == {"cuda"}
    assert one.training.epoch == 1
    assert one.best["value"] == result[f"best/{one.training.task.primary}"]


def test_an_epoch_has_the_figures_of_its_gpu(
    data: Prepared, gpu: PretendedGpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial.gpu_meter, "find", lambda share: GpuMeter(NvmlDriver(), "card", share))
    one = started(configuration("cls"), "cls", data)
    first, second = one.step(), one.step()
    assert first["system/gpu_0_utilization_percentage"] == second["system/gpu_0_utilization_percentage"] == 87
    assert first[ENERGY] > 0 < second["system/gpu_0_power_usage_watts"]


@pytest.mark.parametrize(
    ("task", "more"),
    [
        ("seg", {"ema": 0.9, "augmentation": "strong"}),
        ("seg", {"optimizer": "sgd", "balance": "oversample", "augmentation": "aug_s"}),
        ("cls", {"balance": "weights", "loss": "focal", "focal_gamma": 2.0, "augmentation": "medium"}),
        ("cls", {"balance": "sampler", "freeze_epochs": 1, "augmentation": "aug_a", "ema": 0.9}),
        ("multi", {"refine": True, "balance": "weights", "ema": 0.9, "freeze_epochs": 1}),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_every_option_trains_and_goes_on(
    task: str, more: dict[str, Any], data: Prepared, gpu: PretendedGpu, tmp_path: Path
) -> None:
    one = started(configuration(task, **more), task, data)
    one.step()
    one.save_checkpoint(str(emptied(tmp_path / "checkpoint")))
    straight = one.step()
    again = started(configuration(task, **more), task, data)
    again.load_checkpoint(str(tmp_path / "checkpoint"))
    resumed = again.step()
    names = [name for name in straight if name.startswith(("val/", "train/loss", "best/"))]
    assert len(names) > 4
    assert {name: resumed[name] for name in names} == {name: straight[name] for name in names}


@pytest.mark.parametrize("gpu", [(7, 5)], indirect=True, ids=["without bfloat16"])
@pytest.mark.parametrize("task", ["seg", "cls", "multi"])
def test_float32_is_the_cpus_to_the_bit(
    task: str, data: Prepared, gpu: PretendedGpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configuration(task, augmentation="none", ema=0.9)
    # Torch's fused step rounds otherwise than its plain one: on both sides the same.
    fused = torch.optim.AdamW
    monkeypatch.setitem(
        optimizers.OPTIMIZERS, "adamw", lambda groups, **options: fused(groups, **options | {"fused": True})
    )
    found = []
    for device in ("cpu", "cuda"):
        training = Training(task, config, data, device=device)
        epochs = [training.train_epoch()["train/loss"] for _ in range(2)]
        weights = {name: tensor.cpu().numpy() for name, tensor in training.best_model.state_dict().items()}
        found.append((epochs, training.evaluate(), weights))
    assert found[0][:2] == found[1][:2]
    for name, tensor in found[0][2].items():
        np.testing.assert_array_equal(tensor, found[1][2][name], err_msg=name)


def test_between_two_trials_a_gpu_holds_the_images_alone(
    data: Prepared, gpu: PretendedGpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, built, held = configuration("seg", ema=0.9), trial.Training, []

    def build(*args: Any, **options: Any) -> Training:
        held.append(gpu.memory["now"])
        return built(*args, **options)

    monkeypatch.setattr(trial, "Training", build)
    one = started(config, "seg", data)
    for seed in (1, 2):
        one.step()
        assert one.reset_config(config | {"seed": seed})
    images = data.images.nbytes + data.masks.nbytes + data.labels.nbytes
    assert [bytes_ - held[0] for bytes_ in held] == [0, images, images]


def test_what_ran_out_of_memory_holds_nothing_when_it_is_tried_again(
    data: Prepared, gpu: PretendedGpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, backward = [], Training._backward

    def attempt(self: Training, batch: Any, most: int) -> Any:
        held.append((most, gpu.memory["now"]))
        return backward(self, batch, most)

    monkeypatch.setattr(Training, "_backward", attempt)
    training = Training("seg", configuration("seg"), data, device="cuda")
    gpu.room = 3
    training.train_epoch()
    assert training.micro_batch == 3
    assert [most for most, _ in held[:2]] == [6, 3]
    assert held[1][1] <= held[0][1]


def test_the_first_step_takes_no_memory_that_was_not_there_before(data: Prepared, gpu: PretendedGpu) -> None:
    training = Training("seg", configuration("seg"), data, device="cuda")
    assert {name for state in training.optimizer.state.values() for name in state} == {"step", "exp_avg", "exp_avg_sq"}
    assert all(not state["step"].any() and not state["exp_avg"].any() for state in training.optimizer.state.values())
