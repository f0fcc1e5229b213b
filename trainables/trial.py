"""One trial as Ray Tune sees it: a shell over `Training`. A step is an epoch; workers go from trial to trial."""

from __future__ import annotations

import errno
import gc
import math
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import torch
from ray import tune
from torch import Tensor

from search_spaces.recipes import Config
from trainables import checkpoint, devices, gpu_meter, plugins
from trainables.data.prepared import Prepared
from trainables.memory import release
from trainables.models.weights import Source
from trainables.training import DivergedError, Training


@dataclass(frozen=True)
class TrialContext:
    """What all trials of a search have in common; travels through Ray's object store once a node.

    `gpus` are those of a trial: 0, 1 or a fraction of one. `fitting` raises where a host, which may have come later,
    does not fit the others. `plugins` are those of the driver.
    """

    task: str
    data: Prepared
    sources: dict[str, Source] = field(default_factory=dict)
    threads: int = 1
    gpus: float = 0.0
    fitting: Callable[[], None] | None = None
    plugins: tuple[plugins.Plugin, ...] = ()


class Trial(tune.Trainable):
    """Trains one configuration, reports the best value so far, and checkpoints now and then.

    Run it with `CheckpointConfig(checkpoint_at_end=True)`: the best weights are in memory until then.
    """

    def setup(self, config: Config, shared: TrialContext) -> None:  # type: ignore[override]
        """Called once a worker: threads and data stay from trial to trial.

        Raises:
            PluginError: a plugin is not here, or fails here.
            UnusableGpuError: no trial can train on this GPU.
        """
        if shared.fitting:
            shared.fitting()
        plugins.install(shared.plugins)
        self.shared = shared
        self.broken: Exception | None = None
        torch.set_num_threads(shared.threads)
        cv2.setNumThreads(1)  # images are small, and batches are already prepared side by side
        self.device = torch.device("cuda" if shared.gpus else "cpu")
        if shared.gpus:
            devices.try_out()
            devices.limit_memory(shared.gpus)
        self.meter = gpu_meter.find(shared.gpus)
        gc.freeze()  # what is imported by now stays: collecting between trials need not walk it, 350 ms each time
        self._start(config)

    def reset_config(self, new_config: Config) -> bool:
        """Take the next trial in the same process."""
        # Two trials' memory would be held at once; the scheduler and the training refer to each other.
        for name in ("training", "best", "weights"):
            self.__dict__.pop(name, None)
        release()
        try:
            self._start(new_config)
        except Exception as error:
            self.broken = error  # Tune tries a trial again that fails in a step, but not one that fails here
        return True

    def _start(self, config: Config) -> None:
        started = time.perf_counter()
        shared = self.shared
        source = shared.sources.get(config["encoder"])
        self.training = Training(shared.task, config, shared.data, source, device=self.device)
        self.best: dict[str, Any] = {"value": -math.inf, "epoch": 0}
        self.weights: dict[str, Tensor] = {}
        self.train_seconds = 0.0
        self.saved_at = time.perf_counter()
        self.setup_seconds = time.perf_counter() - started
        if self.meter:
            self.meter.start()

    def step(self) -> dict[str, Any]:
        """Train and evaluate an epoch."""
        self._raise_broken()
        result = self._epoch()
        return result | self.meter.spent() if self.meter else result

    def _epoch(self) -> dict[str, Any]:
        started = time.perf_counter()
        primary = self.training.task.primary
        result: dict[str, Any] = {}
        try:
            result |= self.training.train_epoch()
        except DivergedError:
            # The best value so far stands; a trial that never had one scores nothing.
            self.train_seconds += time.perf_counter() - started
            if not self.weights:
                self.best = {"value": 0.0, "epoch": 0, "metrics": {}}
                self.weights = self._copied()
            result |= {f"best/{primary}": self.best["value"], "best/epoch": self.best["epoch"]}
            result |= {"train_seconds": self.train_seconds}
            return result | self._halved() | {"stopped": "diverged", "done": True}
        if self.meter:
            result |= self.meter.load()
        scores = self.training.evaluate()
        # Absent where the validation images cannot show it, as AUROC on a single class cannot.
        value = scores.get(primary, 0.0)
        if value > self.best["value"]:
            self.best = {"value": value, "epoch": self.training.epoch, "metrics": scores}
            self.weights = self._copied()
        self.train_seconds += time.perf_counter() - started
        waiting = self._waited_enough()
        done = waiting or self.training.epoch >= self.training.config["epochs"]
        result |= {f"val/{name}": value for name, value in scores.items()}
        result |= {f"best/{primary}": self.best["value"], "best/epoch": self.best["epoch"]}
        result |= {"train_seconds": self.train_seconds, "setup_seconds": self.setup_seconds, "done": done}
        result |= self._halved()
        if waiting:
            result["stopped"] = "early"
        result["should_checkpoint"] = time.perf_counter() - self.saved_at > checkpoint.SECONDS
        return result

    def _raise_broken(self) -> None:
        if self.broken:
            error, self.broken = self.broken, None
            raise error

    def _copied(self) -> dict[str, Tensor]:
        """The model's weights now, on the CPU."""
        return {name: tensor.to("cpu", copy=True) for name, tensor in self.training.best_model.state_dict().items()}

    def _halved(self) -> dict[str, int]:
        """`micro_batch`, images a forward pass, where memory ran out; else nothing."""
        return {"micro_batch": self.training.micro_batch} if self.training.micro_batch else {}

    def _waited_enough(self) -> bool:
        """Early stopping; a stage after frozen epochs has a patience of its own, so that it begins at all."""
        config = self.training.config
        frozen = config["freeze_epochs"] if config["freeze_epochs"] < config["epochs"] else 0
        since = max(self.best["epoch"], frozen)
        patience = config.get("early_stop", 0)
        return bool(patience) and self.training.epoch - since >= patience

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Write the best weights and the state of training.

        Raises:
            OSError: it cannot be written; with "No space left on device" where the disk is full.
        """
        best = self.best | {"train_seconds": self.train_seconds}
        try:
            checkpoint.save(Path(checkpoint_dir), self.training, best, self.weights)
        except OSError as error:
            # Ray would leave on the full disk what was written of it.
            shutil.rmtree(checkpoint_dir, ignore_errors=True)
            if error.errno != errno.ENOSPC:
                raise
            message = f"{os.strerror(errno.ENOSPC)} for the checkpoint of epoch {self.training.epoch}"
            raise OSError(errno.ENOSPC, message, checkpoint_dir) from None
        self.saved_at = time.perf_counter()

    def load_checkpoint(self, checkpoint_dir: str) -> None:  # type: ignore[override]
        """Go on from a checkpoint."""
        self._raise_broken()
        self.best, self.weights = checkpoint.resume(Path(checkpoint_dir), self.training)
        self.train_seconds = self.best.pop("train_seconds")
