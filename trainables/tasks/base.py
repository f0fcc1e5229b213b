"""What a task is to the training loop and to a search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from torch import Tensor, nn
from torchmetrics import Metric

from search_spaces.recipes import Config
from trainables.data.manifest import CLASSES
from trainables.data.prepared import Prepared

if TYPE_CHECKING:
    from trainables.batches import Batch

Labels = TypeVar("Labels", np.ndarray, Tensor)
#: What a model returns for B images: one tensor of logits, or (mask logits, class logits).
Outputs = Any


def to_targets(labels: Labels, classes: int) -> Labels:
    """Labels (int64, index into `CLASSES`, -1 unknown) as a model of so many classes counts them, 0..K-1; else -1."""
    return (labels - (len(CLASSES) - classes)).clip(min=-1)


class TaskModel(Protocol):
    """A network that takes grey images [B, 1, H, W] in 0..255 and normalises them itself."""

    @property
    def encoder(self) -> nn.Module | None:
        """The part that pretrained weights fill and that can be frozen; None where all is from scratch."""

    def set_normalisation(self, mean: float | Sequence[float], std: float | Sequence[float]) -> None:
        """Mean and std of images scaled to 0..1."""


class Task(Protocol):
    """Model head, loss, metrics, primary metric and predictions of one task.

    Attributes:
        name: `seg`, `cls` or `multi`.
        primary: the metric (of `metrics().compute()`) that ranks trials; higher is better.
    """

    name: str
    primary: str

    def rows(self, data: Prepared) -> np.ndarray:
        """Rows (int64) that this task can learn from and be scored on. Raises DataError where there are none."""

    def samples(self, data: Prepared, rows: np.ndarray) -> np.ndarray:
        """Masks (int64 indices into `data.masks`) to train on for these rows; a task without masks takes the merged."""

    def build(self, config: Config) -> Any:
        """The model (an nn.Module that is a TaskModel), random weights; its outputs are float32."""

    def loss(self, config: Config, labels: np.ndarray) -> Callable[[Outputs, Batch], Tensor]:
        """Scalar loss of outputs against a batch; `labels` (int64) of the training samples are for class weights."""

    def metrics(self) -> Metric:
        """A fresh accumulator; `compute()` gives plain floats, without those that have no image to rest on."""

    def update(self, metrics: Metric, outputs: Outputs, batch: Batch) -> None:
        """Add a batch to the metrics."""

    def figures(self, data: Prepared, rows: np.ndarray, outputs: Outputs) -> dict[str, np.ndarray]:
        """Pictures of predictions on these rows, uint8 RGB [H, W, 3] by file stem ("predictions", "confusion", ...)."""
