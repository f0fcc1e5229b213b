"""Trainings beside a search's own: models that a fold of images never saw, for a fixed number of epochs."""

from __future__ import annotations

import errno
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import cv2
import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from search_spaces.recipes import Config
from trainables import checkpoint, checkpoint_description, locks
from trainables.data.prepared import Prepared
from trainables.models.weights import Source
from trainables.training import Training


@dataclass(frozen=True)
class Outcome:
    """Seconds of training, all attempts together, and metrics of the last weights on the held-out fold."""

    seconds: float
    metrics: dict[str, float]


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
    config: Config
    fold: int
    start: Path | None = None
    image_weights: np.ndarray | None = None

    @property
    def done(self) -> bool:
        """Whether it is trained."""
        return (self.folder / checkpoint.WEIGHTS).is_file()

    @property
    def outcome(self) -> Outcome:
        """What `train` returned when it was done."""
        best = checkpoint_description.read(self.folder).best
        return Outcome(best.seconds, best.metrics)


def train(
    job: Job,
    data: Prepared,
    source: Source | None,
    *,
    gpu: bool = False,
    threads: int = 1,
    saved: Callable[[Path], None] | None = None,
) -> Outcome:
    """Train, going on where an earlier attempt was cut off; at most 20 seconds and an epoch are trained twice.

    Another process on this host that trains the same is waited for.

    Args:
        saved: called with the folder of each checkpoint on the way, when it is whole.

    Raises:
        DivergedError: the loss became NaN or infinite.
        OSError: a checkpoint cannot be read or written.
    """
    with locks.held(job.folder.with_name(f".{job.folder.name}.lock")):  # ensembles may want the same of a trial
        return job.outcome if job.done else _train(job, data, source, gpu, threads, saved)


def _train(
    job: Job,
    data: Prepared,
    source: Source | None,
    gpu: bool,
    threads: int,
    told: Callable[[Path], None] | None,
) -> Outcome:
    torch.set_num_threads(threads)
    cv2.setNumThreads(1)
    training = Training(
        job.task,
        job.config,
        data,
        load_file(job.start / checkpoint.WEIGHTS) if job.start else source,
        fold=job.fold,
        device="cuda" if gpu else "cpu",
        image_weights=job.image_weights,
    )
    before = 0.0
    for folder in (_part(job), _aside(_part(job))):
        try:
            before = checkpoint.resume(folder, training)[0]["seconds"]
            break
        except FileNotFoundError:
            continue
        except (OSError, RuntimeError, ValueError, KeyError, EOFError, UnpicklingError, SafetensorError) as error:
            if isinstance(error, OSError) and error.errno != errno.EINVAL:  # EINVAL: torch of a file that was cut
                raise
            shutil.rmtree(folder)  # damaged, as by a power cut: what it held is trained again
    started = saved = time.perf_counter()
    while training.epoch < job.config["epochs"]:
        training.train_epoch()
        if time.perf_counter() - saved > checkpoint.SECONDS and training.epoch < job.config["epochs"]:
            _save(_part(job), training, {"seconds": before + time.perf_counter() - started})
            if told:
                told(_part(job))
            saved = time.perf_counter()
    metrics = training.evaluate()
    outcome = Outcome(before + time.perf_counter() - started, metrics)
    _save(_part(job), training, {"value": metrics.get(training.task.primary), "epoch": training.epoch, **vars(outcome)})
    _part(job).rename(job.folder)
    (job.folder / checkpoint.STATE).unlink()  # nothing goes on from here
    return outcome


def _part(job: Job) -> Path:
    """Where a training keeps its checkpoint until it is done."""
    return job.folder.with_name(f"{job.folder.name}.part")


def _aside(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.old")


def _save(folder: Path, training: Training, best: Mapping[str, Any]) -> None:
    """Write a checkpoint, so that at any moment a whole one stands in `folder`, or aside."""
    new, old = folder.with_name(f"{folder.name}.new"), _aside(folder)
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    checkpoint.save(new, training, best, training.best_model.state_dict())
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
