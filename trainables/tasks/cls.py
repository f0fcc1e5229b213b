"""Classification: one class an image; malignant, benign, and normal unless there are two classes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from search_spaces.recipes import Config
from trainables import charts
from trainables.batches import Batch
from trainables.data.kinds import asked
from trainables.data.manifest import CLASSES, DataError
from trainables.data.prepared import Prepared
from trainables.losses.cls import build_loss
from trainables.metrics.cls import ClassificationMetrics
from trainables.models.cls import ClassificationModel, build
from trainables.tasks.base import to_targets
from trainables.tasks.outlines import confident_errors, draw_images, image_name


class Classification:
    """The task `cls`: what its model, loss, metrics, primary metric and predictions are.

    Args:
        classes: 3, or 2 for benign and malignant alone; images of other classes are then passed over.
    """

    name = "cls"
    primary = "auroc"

    def __init__(self, classes: int = len(CLASSES)) -> None:
        self.classes = classes
        self.names = CLASSES[-classes:]

    def rows(self, data: Prepared) -> np.ndarray:
        """Rows (int64) that this task can learn from and be scored on.

        Raises:
            DataError: images of fewer than two of its classes.
        """
        targets = to_targets(data.labels, self.classes)
        found = [name for index, name in enumerate(self.names) if (targets == index).any()]
        if len(found) < 2:
            raise DataError(
                f"classification needs images of at least two of the classes {', '.join(self.names)} and this data has "
                f"{found[0] + ' alone' if found else 'none'}; check the class folders, or the labels in the table"
                f"{asked(data.notes)}"
            )
        return np.flatnonzero(targets >= 0)

    def samples(self, data: Prepared, rows: np.ndarray) -> np.ndarray:
        """The merged masks of these rows, one sample an image: their indices are the rows'."""
        return rows

    def build(self, config: Config) -> ClassificationModel:
        """The model, logits float32 [B, K] for grey images [B, 1, H, W] in 0..255."""
        return build(config, self.classes)

    def loss(self, config: Config, labels: np.ndarray) -> Callable[[Tensor, Batch], Tensor]:
        """Scalar loss of logits against a batch; `labels` are those of the training samples."""
        loss = build_loss(config, to_targets(labels, self.classes), self.classes)
        return lambda logits, batch: loss(logits, to_targets(batch.labels, self.classes))

    def metrics(self) -> ClassificationMetrics:
        """A fresh accumulator of this task's metrics."""
        return ClassificationMetrics(self.classes)

    def update(self, metrics: Metric, logits: Tensor, batch: Batch) -> None:
        """Add a batch to the metrics."""
        metrics.update(logits, to_targets(batch.labels, self.classes))

    def figures(self, data: Prepared, rows: np.ndarray, outputs: Tensor) -> dict[str, np.ndarray]:
        """Confusion matrix, ROC and precision-recall curves of these rows: uint8 RGB [H, W, 3] by file stem.

        And `worst_cases`, unless there is none: images whose likeliest class is wrong, the surest first.
        """
        rows, labels = np.asarray(rows), to_targets(data.labels[rows], self.classes)
        probabilities = torch.as_tensor(outputs, dtype=torch.float64).softmax(1).numpy()
        pictures = {
            "confusion": charts.confusion_matrix(probabilities.argmax(1), labels, self.names),
            "roc": charts.roc_curves(probabilities, labels, self.names),
            "precision_recall": charts.precision_recall_curves(probabilities, labels, self.names),
        }
        worst = confident_errors(probabilities, labels)
        if len(worst):
            captions = [
                f"{self.names[one.argmax()]} {one.max():.2f}, is {image_name(data, row)}"
                for row, one in zip(rows[worst], probabilities[worst], strict=True)
            ]
            pictures["worst_cases"] = draw_images(
                data, rows[worst], captions, "wrong class: said with what probability"
            )
        return pictures
