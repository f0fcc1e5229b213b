"""The training loop: plain PyTorch, no Ray, no MLflow. One call trains an epoch, one evaluates."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from search_spaces.recipes import Config
from trainables.augment import build_augmentation
from trainables.batches import Batch, batch_bounds, batches, sampling_order
from trainables.data.manifest import DataError
from trainables.data.prepared import Prepared
from trainables.device_batches import device_images, lives_on
from trainables.devices import autocast
from trainables.memory import halving
from trainables.models.freezing import thaw
from trainables.models.heads import load_body
from trainables.models.weights import Source, load
from trainables.moving_average import MovingAverage
from trainables.optimizers import build_optimizer
from trainables.policies import policy
from trainables.tasks import make_task

GRADIENT_NORM = 1.0
EVALUATION_BATCH = 32
#: Threads that prepare batches for a GPU; more of them keep each other, and the one that launches, from working.
FEEDING = 4


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
        device: a GPU that computes in bfloat16 trains in it, with float32 weights, and holds the images itself where
            they are few enough; else, as on a CPU, batches are prepared by as many threads as torch has.
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
        self.data, self.device = data, torch.device(device)
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
        self.averaged = MovingAverage(self.model, decay) if decay else None
        self.loss = self.task.loss(config, data.labels[data.mask_image[self.training_masks]])
        self.input = self._input()
        self.optimizer = build_optimizer(self.model, config)
        self.steps_per_epoch = len(batch_bounds(len(self._order(0)), config["batch_size"], joined=True))
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
        loader = self.input(self._order(self.epoch), self.config["batch_size"], seed)
        total, seen, waited = torch.zeros((), device=self.device), 0, 0.0
        started = asked = time.perf_counter()
        for batch in loader:
            waited += time.perf_counter() - asked
            count = len(batch.images)
            size = min(self.micro_batch or count, count)
            (loss, norm), fitting = halving(functools.partial(self._backward, batch), size, least=2)
            if fitting < size:
                self.micro_batch = fitting
            # A step on a NaN gradient would destroy weights that may still be worth keeping.
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
        metrics = self.task.metrics()
        total = torch.zeros((), device=self.device)
        model = self.best_model.eval()
        with torch.inference_mode():
            for batch in self.input(rows, batch_size, None):
                with autocast(self.device):
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

    def _backward(self, batch: Batch, most: int) -> tuple[Tensor, Tensor]:
        """Gradients of a batch, clipped, with at most `most` images in a forward pass; its loss, and their norm before.

        All of a step that takes memory is here: the optimizer has its own since it was made.
        """
        self.optimizer.zero_grad(set_to_none=True)
        losses = []
        for part in batch.split(most):
            with autocast(self.device):
                outputs = self.model(part.images)
            loss = self.loss(outputs, part) * (len(part.images) / len(batch.images))
            loss.backward()
            losses.append(loss.detach())
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.get("clip", GRADIENT_NORM) or math.inf)
        return torch.stack(losses).sum(), norm

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

    def _input(self) -> Callable[[np.ndarray, int, Sequence[int] | None], Iterator[Batch]]:
        """What yields batches of masks, in order and of a size; augmented where there is a seed, as in training."""
        data, device, name = self.data, self.device, self.config["augmentation"]
        if lives_on(device, data):
            chosen, images = policy(name), device_images(data, device)
            return lambda masks, count, seed: images.batches(
                masks, batch_size=count, policy=None if seed is None else chosen, seed=seed or (0,)
            )
        augmentation, threads = build_augmentation(name, data.images.shape[-1]), torch.get_num_threads()
        return lambda masks, count, seed: batches(
            data,
            masks,
            batch_size=count,
            device=device,
            augmentation=None if seed is None else augmentation,
            seed=seed or (0,),
            workers=threads if device.type == "cpu" else min(threads, FEEDING),
        )


def _statistics(images: np.ndarray, rows: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of the training split's pixels, in 0..1, an image at a time to spare memory."""
    pictures = (images[row] for row in rows)
    moments = np.array([(image.mean(), np.square(image, dtype=np.float32).mean()) for image in pictures])
    mean, square = moments.mean(axis=0) / (255, 255**2)
    return float(mean), float(np.sqrt(square - mean**2))
