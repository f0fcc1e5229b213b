"""How often the host waits for a GPU, and what it uploads, in numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch.optim.swa_utils import AveragedModel

from tests.pretended_gpu.conftest import configuration, emptied
from tests.support.pretended_gpu import PretendedGpu
from trainables import checkpoint, device_batches
from trainables.data import Prepared
from trainables.moving_average import MovingAverage
from trainables.training import Training


def counted(training: Training, gpu: PretendedGpu) -> tuple[float, float]:
    """Waits and uploads of a step, in an epoch; one more wait is the epoch's, for its mean loss."""
    gpu.clear()
    training.train_epoch()
    waits, uploads = sum(gpu.counts.waits.values()), sum(gpu.counts.uploads.values())
    return (waits - 1) / training.steps_per_epoch, uploads / training.steps_per_epoch


@pytest.mark.parametrize(("task", "more"), [("seg", {"ema": 0.9}), ("cls", {}), ("multi", {"ema": 0.9})])
def test_a_step_waits_once_and_so_does_a_resumed_one(
    task: str, more: dict[str, Any], data: Prepared, gpu: PretendedGpu, tmp_path: Path
) -> None:
    config = configuration(task, augmentation="medium", **more)
    first = Training(task, config, data, device="cuda")
    assert counted(first, gpu)[0] == 1, gpu.counts.waits
    checkpoint.save(emptied(tmp_path / "checkpoint"), first, {}, first.best_model.state_dict())
    second = Training(task, config, data, device="cuda")
    checkpoint.resume(tmp_path / "checkpoint", second)
    assert counted(second, gpu)[0] == 1, gpu.counts.waits


def test_masks_that_are_not_known_cost_an_upload_and_no_wait(data: Prepared, gpu: PretendedGpu) -> None:
    has_mask = data.has_mask.copy()
    has_mask[::3] = False
    training = Training("multi", configuration("multi"), replace(data, has_mask=has_mask), device="cuda")
    training.train_epoch()  # the first uploads what stays, as weights of classes
    waits, _ = counted(training, gpu)
    assert waits == 1, gpu.counts.waits
    assert {kind for _, kind in gpu.counts.uploads} == {"pinned"}


@pytest.mark.parametrize(("policy", "an_epoch"), [("none", 2), ("strong", 9)])
def test_a_gpu_that_holds_the_images_is_sent_the_draws_of_an_epoch_alone(
    policy: str, an_epoch: int, data: Prepared, gpu: PretendedGpu
) -> None:
    training = Training("seg", configuration("seg", augmentation=policy), data, device="cuda")
    _, uploads = counted(training, gpu)
    assert uploads * training.steps_per_epoch <= 9
    assert sum(gpu.counts.uploads.values()) >= an_epoch
    assert {kind for _, kind in gpu.counts.uploads} == {"pinned"}


def test_more_images_than_a_gpu_holds_come_from_the_host(
    data: Prepared, gpu: PretendedGpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_batches, "MOST", 0)
    training = Training("seg", configuration("seg"), data, device="cuda")
    assert counted(training, gpu) == (1, 3), gpu.counts.uploads
    assert {kind for _, kind in gpu.counts.uploads} == {"pinned"}


@pytest.mark.parametrize(("task", "waits"), [("seg", 2), ("cls", 3), ("multi", 5)])
def test_an_evaluation_waits_as_often_as_is_written_here(
    task: str, waits: int, data: Prepared, gpu: PretendedGpu
) -> None:
    training = Training(task, configuration(task), data, device="cuda")
    rows = np.repeat(training.validation_rows, 3)[:20]
    training.evaluation_batch = 20
    gpu.clear()
    training.evaluate(rows)
    assert sum(gpu.counts.waits.values()) == waits, gpu.counts.waits


def test_torchs_own_average_would_wait(data: Prepared, gpu: PretendedGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MovingAverage, "update_parameters", AveragedModel.update_parameters)
    training = Training("seg", configuration("seg", ema=0.9), data, device="cuda")
    training.averaged.multi_avg_fn = lambda ours, theirs, count: int(count)
    assert counted(training, gpu)[0] > 1
