"""Multi-task learning: the mask of the lesion and the class of the image from one encoder."""

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
from trainables.data.manifest import CLASSES, UNKNOWN, DataError
from trainables.data.prepared import Prepared
from trainables.losses.multi import build_loss
from trainables.metrics.multi import MultiMetrics
from trainables.models.multi import MultiModel, MultiOutputs, build
from trainables.tasks.base import to_targets
from trainables.tasks.outlines import draw_outlines, image_name, lowest_dice, spread


class MultiTask:
    """The task `multi`: what its model, loss, metrics, primary metric and predictions are.

    Args:
        classes: 3, or 2 for benign and malignant alone; normals are then passed over.
    """

    name = "multi"
    primary = "score"

    def __init__(self, classes: int = len(CLASSES)) -> None:
        self.classes = classes
        self.names = CLASSES[-classes:]

    def rows(self, data: Prepared) -> np.ndarray:
        """Rows (int64) that either head can learn from: of one of its classes, or of unknown class with a known mask.

        Raises:
            DataError: no lesion masks, or images of fewer than two of its classes.
        """
        known = to_targets(data.labels, self.classes) >= 0
        if not data.masks.any() or len(np.unique(data.labels[known])) < 2:
            raise DataError(
                "multi-task learning needs lesion masks, and images of at least two of the classes "
                f"{', '.join(self.names)}; check the folder, or use --task seg or --task cls{asked(data.notes)}"
            )
        return np.flatnonzero(known | ((data.labels == UNKNOWN) & data.has_mask))

    def samples(self, data: Prepared, rows: np.ndarray) -> np.ndarray:
        """Masks to train on for these rows: the single ones where there are several, else the merged."""
        return data.training_masks(rows)

    def build(self, config: Config) -> MultiModel:
        """The model: mask logits float32 [B, 1, H, W] and class logits float32 [B, K] for grey images in 0..255."""
        return build(config, self.classes)

    def loss(self, config: Config, labels: np.ndarray) -> Callable[[MultiOutputs, Batch], Tensor]:
        """Scalar loss of outputs against a batch; `labels` are those of the training samples."""
        loss = build_loss(config, to_targets(labels, self.classes), self.classes)
        return lambda outputs, batch: loss(outputs, batch.masks, batch.has_mask, self._targets(batch))

    def metrics(self) -> MultiMetrics:
        """A fresh accumulator of this task's metrics."""
        return MultiMetrics(self.classes)

    def update(self, metrics: Metric, outputs: MultiOutputs, batch: Batch) -> None:
        """Add a batch to the metrics."""
        metrics.update(*outputs, batch.masks, batch.has_mask, self._targets(batch))

    def figures(self, data: Prepared, rows: np.ndarray, outputs: MultiOutputs) -> dict[str, np.ndarray]:
        """Outlined predictions with their class, and the charts of a classifier: uint8 RGB [H, W, 3] by file stem.

        `worst_cases` are the images of lowest Dice, with what class was said of them.
        """
        rows, targets = np.asarray(rows), to_targets(data.labels[rows], self.classes)
        mask_logits = torch.as_tensor(outputs[0]).numpy()
        probabilities = torch.as_tensor(outputs[1], dtype=torch.float64).softmax(1).numpy()
        said = [f"{self.names[one.argmax()]} {one.max():.2f}" for one in probabilities]
        shown, known = spread(data.labels[rows]), targets >= 0
        captions = [f"{image_name(data, rows[i])[:16]}: {said[i]}" for i in shown]
        worst, dice = lowest_dice(data, rows, mask_logits)
        worst_captions = [
            f"{value:.2f} {image_name(data, rows[i])[:14]}: {said[i]}" for i, value in zip(worst, dice, strict=True)
        ]
        probabilities, targets = probabilities[known], targets[known]
        return {
            "predictions": draw_outlines(data, rows[shown], mask_logits[shown], captions),
            "worst_cases": draw_outlines(data, rows[worst], mask_logits[worst], worst_captions, "lowest Dice first"),
            "confusion": charts.confusion_matrix(probabilities.argmax(1), targets, self.names),
            "roc": charts.roc_curves(probabilities, targets, self.names),
            "precision_recall": charts.precision_recall_curves(probabilities, targets, self.names),
        }

    def _targets(self, batch: Batch) -> Tensor:
        return to_targets(batch.labels, self.classes)
