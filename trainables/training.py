"""The training loop: plain PyTorch, no Ray, no MLflow. One call trains an epoch, one evaluates."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from search_spaces.recipes import Config
from trainables.augment import build_augmentation
from trainables.batches import Batch, batch_starts, batches, sampling_order
from trainables.data.manifest import DataError
from trainables.data.prepared import Prepared
from trainables.memory import halving
from trainables.models.freezing import thaw
from trainables.models.heads import load_body
from trainables.models.weights import Source, load
from trainables.tasks import make_task

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adamw": torch.optim.AdamW,
    "adam": torch.optim.Adam,
    "sgd": torch.optim.SGD,
}
GRADIENT_NORM = 1.0
EVALUATION_BATCH = 32


class DivergedError(FloatingPointError):
    """The loss became NaN or infinite."""


class Training:
    """One configuration being trained on one fold.

    Everything random in an epoch follows from (seed, epoch): a run that is interrupted and resumed sees what an
    uninterrupted one sees, and on a CPU gives the same weights.

    Where memory runs out, a batch is trained in parts whose gradients add up: the same batch, still one step. For a
    loss that is a mean over images the gradients are the same. They are nearly so with batch normalisation, which sees
    the parts' statistics, and for a mean over some of the images (those of known class, those with a mask).

    Attributes:
        micro_batch: images that fit in a forward pass of training; None where memory never ran out.

    Args:
        task: name in `TASKS`.
        config: flat configuration, as `search_spaces` suggests it, with `epochs`, `seed` and `classes`. Recipes may
            set `freeze_lr` (rate while frozen), `frozen_part` and `thawed_part` (see `thaw`), `schedule` (cosine,
            constant), `head_weight_decay` (of the last linear layer), `clip` (gradient norm; 0 is off), `early_stop`.
        data: prepared data.
        weights: where the encoder's come from, None for an architecture without an encoder; or those of the same
            network, to begin with: its head is drawn anew.
        fold: the fold to validate on; its images and the test images are never trained on.
        device: CUDA trains in bfloat16 with float32 weights, a CPU in float32. Batches are prepared by as many threads
            as torch has.
        image_weights: float64 [N], how often each image is drawn, in proportion; None for an epoch that visits all.
    """

    def __init__(
        self,
        task: str,
        config: Config,
        data: Prepared,
        weights: Source | Mapping[str, Tensor] | None = None,
        *,
        fold: int = 0,
        device: torch.device | str = "cpu",
        image_weights: np.ndarray | None = None,
    ) -> None:
        self.task, self.config = make_task(task, config.get("classes", 3)), dict(config)
        self.data, self.workers, self.device = data, torch.get_num_threads(), torch.device(device)
        learnt, held_out = data.fold_rows(fold)
        rows = self.task.rows(data)
        self.training_rows, self.validation_rows = np.intersect1d(learnt, rows), np.intersect1d(held_out, rows)
        if not len(self.training_rows) or not len(self.validation_rows):
            raise DataError(f"too few images to train and validate {task}: give more, or fewer --folds")
        self.training_masks = self.task.samples(data, self.training_rows)
        self.image_weights = image_weights
        torch.manual_seed(config["seed"])
        self.model: Any = self._model(weights).to(self.device)
        self.model.to(memory_format=torch.channels_last)
        decay = config.get("ema", 0.0)
        self.averaged = AveragedModel(self.model, multi_avg_fn=_moving(decay), use_buffers=True) if decay else None
        self.loss = self.task.loss(config, data.labels[data.mask_image[self.training_masks]])
        self.augmentation = build_augmentation(config["augmentation"], data.images.shape[-1])
        self.optimizer = self._optimizer()
        self.steps_per_epoch = len(batch_starts(len(self._order(0)), config["batch_size"], joined=True))
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, self._rate)
        self.epoch, self.evaluation_batch = 0, EVALUATION_BATCH
        self.micro_batch: int | None = None

    @property
    def best_model(self) -> nn.Module:
        """The model to evaluate and to keep: the moving average of the weights where there is one."""
        return self.averaged.module if self.averaged else self.model

    def train_epoch(self) -> dict[str, float]:
        """Train one epoch.

        Returns:
            `train/loss` (mean over images), `train/lr`, `train/wait` (share of the epoch spent waiting for input).

        Raises:
            DivergedError: the loss is not finite.
            RuntimeError: out of memory with the smallest parts, of two images.
        """
        seed = (self.config["seed"], self.epoch)
        torch.manual_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))
        self.model.train()
        self._thaw()
        loader = batches(
            self.data,
            self._order(self.epoch),
            batch_size=self.config["batch_size"],
            device=self.device,
            augmentation=self.augmentation,
            seed=seed,
            workers=self.workers,
        )
        total, seen, waited = torch.zeros((), device=self.device), 0, 0.0
        started = asked = time.perf_counter()
        for batch in loader:
            waited += time.perf_counter() - asked
            count = len(batch.images)
            size = min(self.micro_batch or count, count)
            loss, fitting = halving(functools.partial(self._backward, batch), size, least=2)
            if fitting < size:
                self.micro_batch = fitting
            # A step on a NaN gradient would destroy weights that may still be worth keeping.
            norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.get("clip", GRADIENT_NORM) or math.inf)
            if not torch.isfinite(norm + loss):
                raise DivergedError(f"loss is not finite in epoch {self.epoch + 1}")
            self.optimizer.step()
            self.scheduler.step()
            if self.averaged:
                self.averaged.update_parameters(self.model)
            total += loss * count
            seen += count
            asked = time.perf_counter()
        self.epoch += 1
        seconds = time.perf_counter() - started
        rate = self.optimizer.param_groups[0]["lr"]
        return {"train/loss": total.item() / seen, "train/lr": rate, "train/wait": waited / seconds}

    def evaluate(self, rows: np.ndarray | None = None) -> dict[str, float]:
        """Metrics and `loss` on `rows` (default: the validation fold), each image against its merged mask.

        Raises:
            RuntimeError: out of memory image by image.
        """
        evaluate = functools.partial(self._evaluate, self.validation_rows if rows is None else rows)
        scores, self.evaluation_batch = halving(evaluate, self.evaluation_batch, least=1)
        return scores

    def _evaluate(self, rows: np.ndarray, batch_size: int) -> dict[str, float]:
        metrics = self.task.metrics().to(self.device)
        total = torch.zeros((), device=self.device)
        model = self.best_model.eval()
        with torch.inference_mode():
            for batch in batches(self.data, rows, batch_size=batch_size, device=self.device, workers=self.workers):
                with self._autocast():
                    outputs = model(batch.images)
                self.task.update(metrics, outputs, batch)
                total += self.loss(outputs, batch) * len(batch.images)
        return {**metrics.compute(), "loss": total.item() / len(rows)}

    def state_dict(self) -> dict[str, Any]:
        """Everything that training goes on from; loads with `torch.load(weights_only=True)`."""
        return {
            "model": self.model.state_dict(),
            "averaged": self.averaged.state_dict() if self.averaged else None,
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "epoch": self.epoch,
            "micro_batch": self.micro_batch,
            "evaluation_batch": self.evaluation_batch,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict()`."""
        self.model.load_state_dict(state["model"])
        if self.averaged:
            self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.epoch = state["epoch"]
        self.micro_batch = state.get("micro_batch")
        self.evaluation_batch = state.get("evaluation_batch", EVALUATION_BATCH)

    def _backward(self, batch: Batch, most: int) -> Tensor:
        """Loss of a batch, scalar, and its gradients, with at most `most` images in a forward pass."""
        self.optimizer.zero_grad(set_to_none=True)
        losses = []
        for part in batch.split(most):
            with self._autocast():
                outputs = self.model(part.images)
            loss = self.loss(outputs, part) * (len(part.images) / len(batch.images))
            loss.backward()
            losses.append(loss.detach())
        return torch.stack(losses).sum()

    def _model(self, weights: Source | Mapping[str, Tensor] | None) -> Any:
        model = self.task.build(self.config)
        if isinstance(weights, Mapping):
            load_body(model, weights)
        elif model.encoder is not None and weights is not None and weights.kind != "random":
            load(model.encoder, self.config["encoder"], weights)
            model.set_normalisation(weights.mean, weights.std)
        else:
            model.set_normalisation(*_statistics(self.data.images, self.training_rows))
        return model

    def _optimizer(self) -> torch.optim.Optimizer:
        options: dict[str, Any] = {"lr": self.config["lr"], "weight_decay": self.config["weight_decay"]}
        if self.config["optimizer"] == "sgd":
            options["momentum"] = 0.9
        encoder = list(self.model.encoder.parameters()) if self.model.encoder is not None else []
        inside = {id(parameter) for parameter in encoder}
        others = [parameter for parameter in self.model.parameters() if id(parameter) not in inside]
        linear = [parameter for parameter in others if parameter.ndim == 2]
        others = [parameter for parameter in others if parameter.ndim != 2]
        decay = self.config.get("head_weight_decay", self.config["weight_decay"])
        groups = [{"params": others}, {"params": encoder}, {"params": linear, "weight_decay": decay}]
        return OPTIMIZERS[self.config["optimizer"]]([group for group in groups if group["params"]], **options)

    def _order(self, epoch: int) -> np.ndarray:
        seed = (self.config["seed"], epoch)
        balance = self.config["balance"]
        return sampling_order(
            self.data, self.training_masks, balance=balance, seed=seed, image_weights=self.image_weights
        )

    def _rate(self, step: int) -> float:
        """Factor of the learning rate: constant while frozen, then linear warm-up and a cosine to zero, or constant."""
        frozen, warmup, total = (
            self.config[name] * self.steps_per_epoch for name in ("freeze_epochs", "warmup_epochs", "epochs")
        )
        if step < frozen:
            return float(self.config.get("freeze_lr", self.config["lr"]) / self.config["lr"])
        if step < frozen + warmup:
            return float((step - frozen + 1) / (warmup + 1))
        if self.config.get("schedule", "cosine") == "constant":
            return 1.0
        done = (step - frozen - warmup) / max(1, total - frozen - warmup)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

    def _thaw(self) -> None:
        if self.model.encoder is not None:
            frozen = self.epoch < self.config["freeze_epochs"]
            part = self.config.get("frozen_part", "none") if frozen else self.config.get("thawed_part", "all")
            thaw(self.model.encoder, part)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda")


def _moving(decay: float) -> Callable[[Any, Any, Any], None]:
    """Exponential moving average whose decay grows from .1: a short training must not be an average of its start."""

    def update(averaged: Any, current: Any, count: Any) -> None:
        if not torch.is_floating_point(averaged[0]):  # indices and counters have no mean
            torch._foreach_copy_(averaged, current)
            return
        get_ema_multi_avg_fn(min(decay, (1 + int(count)) / (10 + int(count))))(averaged, current, count)

    return update


def _statistics(images: np.ndarray, rows: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of the training split's pixels, in 0..1, an image at a time to spare memory."""
    pictures = (images[row] for row in rows)
    moments = np.array([(image.mean(), np.square(image, dtype=np.float32).mean()) for image in pictures])
    mean, square = moments.mean(axis=0) / (255, 255**2)
    return float(mean), float(np.sqrt(square - mean**2))
