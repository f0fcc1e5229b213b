"""The training loop: plain PyTorch, no Ray, no MLflow. One call trains an epoch, one evaluates."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainables.augment import build_augmentation
from trainables.batches import batches, sampling_order
from trainables.data import Prepared
from trainables.models.seg import SegmentationModel
from trainables.models.weights import Source, load
from trainables.tasks import TASKS

OPTIMIZERS = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam, "sgd": torch.optim.SGD}
GRADIENT_NORM = 1.0


class DivergedError(FloatingPointError):
    """The loss became NaN or infinite."""


class Training:
    """One configuration being trained on one fold.

    Everything random in an epoch follows from (seed, epoch): a run that is interrupted and resumed sees what an
    uninterrupted one sees, and on a CPU gives the same weights.

    Args:
        task: name in `TASKS`.
        config: flat configuration, as `search_spaces` suggests it, with `epochs` and `seed`.
        data: prepared data.
        source: where the encoder's weights come from; None for an architecture without an encoder.
        fold: the fold to validate on; its images and the test images are never trained on.
        device: CUDA trains in bfloat16 with float32 weights, a CPU in float32.
        workers: threads that prepare batches.
    """

    def __init__(
        self,
        task: str,
        config: Mapping[str, Any],
        data: Prepared,
        source: Source | None = None,
        *,
        fold: int = 0,
        device: torch.device | str = "cpu",
        workers: int = 1,
    ) -> None:
        self.task, self.config, self.data, self.workers = TASKS[task], dict(config), data, workers
        self.device = torch.device(device)
        learnt, held_out = data.fold_rows(fold)
        rows = self.task.rows(data)
        self.training_rows, self.validation_rows = np.intersect1d(learnt, rows), np.intersect1d(held_out, rows)
        self.training_masks = data.training_masks(self.training_rows)
        torch.manual_seed(config["seed"])
        self.model = self._model(source).to(self.device)
        self.model.to(memory_format=torch.channels_last)
        self.loss = self.task.loss(config)
        self.augmentation = build_augmentation(config["augmentation"], data.images.shape[-1])
        self.optimizer = self._optimizer()
        self.steps_per_epoch = max(1, len(self.training_masks) // config["batch_size"])
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, self._rate)
        self.epoch = 0

    def train_epoch(self) -> dict[str, float]:
        """Train one epoch.

        Returns:
            `train/loss` (mean over images), `train/lr`, `train/wait` (share of the epoch spent waiting for input).

        Raises:
            DivergedError: the loss is not finite.
        """
        seed = (self.config["seed"], self.epoch)
        torch.manual_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))
        self.model.train()
        frozen = self._freeze(self.epoch < self.config["freeze_epochs"])
        order = sampling_order(self.data, self.training_masks, balance=self.config["balance"], seed=seed)
        loader = batches(
            self.data,
            order,
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
            with self._autocast():
                logits = self.model(batch[0])
            loss = self.loss(logits.float(), batch)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            # A step on a NaN gradient would destroy weights that may still be worth keeping.
            norm = nn.utils.clip_grad_norm_(self.model.parameters(), GRADIENT_NORM)
            if not torch.isfinite(norm + loss.detach()):
                raise DivergedError(f"loss is not finite in epoch {self.epoch + 1}")
            self.optimizer.step()
            self.scheduler.step()
            total += loss.detach() * len(batch[0])
            seen += len(batch[0])
            asked = time.perf_counter()
        if frozen:
            self._freeze(False)
        self.epoch += 1
        seconds = time.perf_counter() - started
        return {
            "train/loss": total.item() / seen,
            "train/lr": self.optimizer.param_groups[0]["lr"],
            "train/wait": waited / seconds,
        }

    def evaluate(self, rows: np.ndarray | None = None) -> dict[str, float]:
        """Metrics and `loss` on `rows` (default: the validation fold), each image against its merged mask."""
        metrics = self.task.metrics().to(self.device)
        total, rows = torch.zeros((), device=self.device), self.validation_rows if rows is None else rows
        self.model.eval()
        with torch.inference_mode():
            for batch in batches(self.data, rows, batch_size=32, device=self.device, workers=self.workers):
                with self._autocast():
                    logits = self.model(batch[0])
                self.task.update(metrics, logits.float(), batch)
                total += self.loss(logits.float(), batch) * len(batch[0])
        return {**metrics.compute(), "loss": total.item() / len(rows)}

    def state_dict(self) -> dict[str, Any]:
        """Everything that training goes on from; loads with `torch.load(weights_only=True)`."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "epoch": self.epoch,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict()`."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.epoch = state["epoch"]

    def _model(self, source: Source | None) -> SegmentationModel:
        model = self.task.build(self.config)
        if model.encoder is not None and source is not None and source.kind != "random":
            load(model.encoder, self.config["encoder"], source)
            model.set_normalisation(source.mean, source.std)
        else:
            model.set_normalisation(*_statistics(self.data.images, self.training_rows))
        return model

    def _optimizer(self) -> torch.optim.Optimizer:
        options: dict[str, Any] = {"lr": self.config["lr"], "weight_decay": self.config["weight_decay"]}
        if self.config["optimizer"] == "sgd":
            options |= {"momentum": 0.9, "nesterov": True}
        return OPTIMIZERS[self.config["optimizer"]](self.model.parameters(), **options)

    def _rate(self, step: int) -> float:
        """Linear warm-up, then a cosine to zero, as a factor of the learning rate."""
        warmup, total = (
            self.config["warmup_epochs"] * self.steps_per_epoch,
            self.config["epochs"] * self.steps_per_epoch,
        )
        if step < warmup:
            return (step + 1) / (warmup + 1)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, total - warmup))))

    def _freeze(self, frozen: bool) -> bool:
        """Freeze or free the encoder: no gradients, and normalisation statistics that stand still."""
        if self.model.encoder is None:
            return False
        self.model.encoder.requires_grad_(not frozen)
        self.model.encoder.train(not frozen)
        return frozen

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda")


def _statistics(images: np.ndarray, rows: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of the training split's pixels, in 0..1, an image at a time to spare memory."""
    moments = np.array(
        [(image.mean(), np.square(image, dtype=np.float32).mean()) for image in (images[row] for row in rows)]
    )
    mean, square = moments.mean(axis=0) / (255, 255**2)
    return float(mean), float(np.sqrt(square - mean**2))


def predict(model: nn.Module, images: np.ndarray, *, batch_size: int = 32) -> Tensor:
    """Logits on the CPU, float32 [N, ...], for grey images uint8 [N, H, W], on the device that the model is on."""
    device = next(model.parameters()).device
    model.eval()
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        parts = [
            model(torch.from_numpy(np.array(images[start : start + batch_size]))[:, None].to(device)).float().cpu()
            for start in range(0, len(images), batch_size)
        ]
    return torch.cat(parts)
