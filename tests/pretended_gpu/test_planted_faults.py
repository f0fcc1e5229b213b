"""Faults of devices, put in: the pretended GPU finds each of them, so it would find another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from tests.pretended_gpu.conftest import configuration
from tests.support.pretended_gpu import PretendedGpu
from trainables import device_batches, inference
from trainables.batches import Batch
from trainables.data import Prepared
from trainables.inference import predict
from trainables.losses import cls
from trainables.training import Training

Plant = Callable[[pytest.MonkeyPatch], None]


def _masks_on_the_cpu(put: pytest.MonkeyPatch) -> None:
    put.setattr(device_batches, "Batch", lambda images, masks, labels, has: Batch(images, masks.cpu(), labels, has))


def _labels_on_the_cpu(put: pytest.MonkeyPatch) -> None:
    put.setattr(device_batches, "Batch", lambda images, masks, labels, has: Batch(images, masks, labels.cpu(), has))


def _class_weights_on_the_cpu(put: pytest.MonkeyPatch) -> None:
    class Stuck:
        def to(self, device: Any) -> torch.Tensor:
            return torch.ones(3)

    put.setattr(cls, "class_weights", lambda labels, classes: Stuck())


def _model_on_the_cpu(put: pytest.MonkeyPatch) -> None:
    build = Training._model

    def built(self: Training, weights: Any) -> Any:
        model = build(self, weights)
        move = model.to
        model.to = lambda *args, **options: model if args else move(**options)
        return model

    put.setattr(Training, "_model", built)


def _total_on_the_cpu(put: pytest.MonkeyPatch) -> None:
    zeros = torch.zeros
    put.setattr(torch, "zeros", lambda *size, device=None, **options: zeros(*size, **options))
    put.setattr(Training, "evaluate", lambda self: {})


def _numpy_of_a_gpu(put: pytest.MonkeyPatch) -> None:
    def said(model: Any, images: np.ndarray, tta: bool, count: int) -> np.ndarray:
        return model(torch.from_numpy(np.array(images))[:, None].to("cuda")).detach().numpy()

    put.setattr(inference, "_predict", said)


def _no_fault(put: pytest.MonkeyPatch) -> None: ...


def run(task: str, data: Prepared, **more: Any) -> None:
    training = Training(task, configuration(task, augmentation="light", **more), data, device="cuda")
    training.train_epoch()
    training.evaluate()
    predict(training.best_model, data.images[:2])


@pytest.mark.parametrize("task", ["seg", "cls"])
def test_without_a_fault_nothing_is_found(task: str, data: Prepared, gpu: PretendedGpu) -> None:
    run(task, data)


@pytest.mark.parametrize(
    ("task", "plant", "more"),
    [
        ("seg", _masks_on_the_cpu, {}),
        ("cls", _labels_on_the_cpu, {}),
        ("cls", _class_weights_on_the_cpu, {"balance": "weights"}),
        ("seg", _model_on_the_cpu, {}),
        ("seg", _total_on_the_cpu, {}),
        ("seg", _numpy_of_a_gpu, {}),
    ],
    ids=lambda value: value.__name__.strip("_") if callable(value) else "",
)
def test_each_is_found(
    task: str, plant: Plant, more: dict[str, Any], data: Prepared, gpu: PretendedGpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    with pytest.raises((RuntimeError, TypeError)):
        run(task, data, **more)
