"""Trainings beside a search's own: models that a fold of images never saw, for a fixed number of epochs."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from safetensors.torch import load_file

from trainables import checkpoint
from trainables.data import Prepared
from trainables.models.weights import Source
from trainables.training import Training


@dataclass(frozen=True)
class Job:
    """One training that keeps its last weights: no epoch is chosen by the images it is held out from.

    Attributes:
        folder: where its checkpoint goes; while it trains, beside it.
        task, config: as for `Training`; `config["epochs"]` are trained.
        fold: the fold that it never sees.
        start: a checkpoint to begin with, whose head is drawn anew; None for a model from its encoder's weights.
        image_weights: float64 [N], how often each image is drawn; None for epochs that visit all.
    """

    folder: Path
    task: str
    config: dict[str, Any]
    fold: int
    start: Path | None = None
    image_weights: np.ndarray | None = None

    @property
    def done(self) -> bool:
        """Whether it is trained."""
        return (self.folder / checkpoint.WEIGHTS).is_file()

    @property
    def outcome(self) -> dict[str, Any]:
        """What `train` returned when it was done."""
        best = json.loads((self.folder / checkpoint.DESCRIPTION).read_text())["best"]
        return {name: best[name] for name in ("seconds", "metrics")}


def train(job: Job, data: Prepared, source: Source | None, *, gpu: bool = False, threads: int = 1) -> dict[str, Any]:
    """Train, going on where an earlier attempt was cut off; at most 20 seconds and an epoch are trained twice.

    Returns:
        `seconds` of training, all attempts together, and `metrics` of the last weights on the held-out fold.

    Raises:
        DivergedError: the loss became NaN or infinite.
        OSError: a checkpoint cannot be read or written.
    """
    torch.set_num_threads(threads)
    cv2.setNumThreads(1)
    training = Training(
        job.task,
        job.config,
        data,
        source,
        fold=job.fold,
        device="cuda" if gpu else "cpu",
        workers=threads,
        start=load_file(job.start / checkpoint.WEIGHTS) if job.start else None,
        image_weights=job.image_weights,
    )
    part, before = job.folder.with_name(job.folder.name + ".part"), 0.0
    if (part / checkpoint.STATE).is_file():
        before = checkpoint.resume(part, training)[0]["seconds"]
    started = saved = time.perf_counter()
    while training.epoch < job.config["epochs"]:
        training.train_epoch()
        if time.perf_counter() - saved > checkpoint.SECONDS and training.epoch < job.config["epochs"]:
            _save(part, training, {"seconds": before + time.perf_counter() - started})
            saved = time.perf_counter()
    metrics = training.evaluate()
    outcome = {"seconds": before + time.perf_counter() - started, "metrics": metrics}
    _save(part, training, {"value": metrics.get(training.task.primary), "epoch": training.epoch, **outcome})
    (part / checkpoint.STATE).unlink()  # nothing goes on from here
    shutil.rmtree(job.folder, ignore_errors=True)
    part.rename(job.folder)
    return outcome


def _save(folder: Path, training: Training, best: Mapping[str, Any]) -> None:
    """Write a checkpoint under a temporary name, then rename."""
    new = folder.with_name(f"{folder.name}.{os.getpid()}")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    checkpoint.save(new, training, best, training.best_model.state_dict())
    shutil.rmtree(folder, ignore_errors=True)
    new.rename(folder)
