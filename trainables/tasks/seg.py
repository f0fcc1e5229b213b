"""Segmentation: a mask of the lesion, one channel of logits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from search_spaces.recipes import Config
from trainables.batches import Batch
from trainables.data.manifest import DataError
from trainables.data.prepared import Prepared
from trainables.losses.seg import build_loss
from trainables.metrics.seg import SegmentationMetrics
from trainables.models.seg import SegmentationModel, build
from trainables.tasks.outlines import draw_outlines, image_name, lowest_dice, spread


class Segmentation:
    """The task `seg`: what its model, loss, metrics, primary metric and predictions are."""

    name = "seg"
    primary = "dice"

    def rows(self, data: Prepared) -> np.ndarray:
        """Rows (int64) that this task can learn from and be scored on: those whose mask is known.

        Raises:
            DataError: there are no lesion masks at all.
        """
        if not data.masks.any():
            raise DataError("segmentation needs masks and this data has none; check the folder or give --layout")
        return np.flatnonzero(data.has_mask)

    def samples(self, data: Prepared, rows: np.ndarray) -> np.ndarray:
        """Masks to train on for these rows: the single ones where there are several, else the merged."""
        return data.training_masks(rows)

    def build(self, config: Config) -> SegmentationModel:
        """The model, logits float32 [B, 1, H, W] for grey images [B, 1, H, W] in 0..255."""
        return build(config)

    def loss(self, config: Config, labels: np.ndarray) -> Callable[[Tensor, Batch], Tensor]:
        """Scalar loss of logits against a batch; `labels` are of no account."""
        loss = build_loss(config["loss"], config["loss_weight"])
        return lambda logits, batch: loss(logits, batch.masks)

    def metrics(self) -> SegmentationMetrics:
        """A fresh accumulator of this task's metrics."""
        return SegmentationMetrics()

    def update(self, metrics: Metric, logits: Tensor, batch: Batch) -> None:
        """Add a batch to the metrics."""
        metrics.update(logits, batch.masks)

    def figures(self, data: Prepared, rows: np.ndarray, outputs: Tensor) -> dict[str, np.ndarray]:
        """`predictions`: up to 12 of these rows, spread over the classes; `worst_cases`: those of lowest Dice."""
        rows, logits = np.asarray(rows), torch.as_tensor(outputs).numpy()
        shown = spread(data.labels[rows])
        captions = [image_name(data, row) for row in rows[shown]]
        worst, dice = lowest_dice(data, rows, logits)
        named = [f"{value:.2f} {image_name(data, row)}" for row, value in zip(rows[worst], dice, strict=True)]
        return {
            "predictions": draw_outlines(data, rows[shown], logits[shown], captions),
            "worst_cases": draw_outlines(data, rows[worst], logits[worst], named, "lowest Dice first"),
        }
