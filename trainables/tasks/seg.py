"""Segmentation: a mask of the lesion, one channel of logits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from torch import Tensor

from trainables.batches import Batch
from trainables.data import DataError, Prepared
from trainables.losses import build_loss
from trainables.metrics import SegmentationMetrics
from trainables.models.seg import SegmentationModel, build

#: RGB colours of outlines in pictures.
TRUTH, PREDICTION = (0, 220, 0), (255, 60, 60)


class Segmentation:
    """The task `seg`: what its model, loss, metrics, primary metric and predictions are."""

    name = "seg"
    primary = "dice"

    def rows(self, data: Prepared) -> np.ndarray:
        """Rows (int64) that this task can learn from and be scored on.

        Raises:
            DataError: there are no lesion masks at all.
        """
        if not data.has_masks or not data.masks.any():
            raise DataError("segmentation needs masks and this data has none; check the folder or give --layout")
        return np.arange(len(data.images))

    def build(self, config: Mapping[str, Any]) -> SegmentationModel:
        """The model, logits float32 [B, 1, H, W] for grey images [B, 1, H, W] in 0..255."""
        return build(dict(config))

    def loss(self, config: Mapping[str, Any]) -> Callable[[Tensor, Batch], Tensor]:
        """Scalar loss of logits against a batch."""
        loss = build_loss(config["loss"], config["loss_weight"])
        return lambda logits, batch: loss(logits, batch[1].float())

    def metrics(self) -> SegmentationMetrics:
        """A fresh accumulator of this task's metrics."""
        return SegmentationMetrics()

    def update(self, metrics: SegmentationMetrics, logits: Tensor, batch: Batch) -> None:
        """Add a batch to the metrics."""
        metrics.update(logits, batch[1])

    def picture(self, images: np.ndarray, masks: np.ndarray, logits: np.ndarray, captions: Sequence[str]) -> np.ndarray:
        """Images side by side with truth (green) and prediction (red) outlined.

        Args:
            images: uint8 [N, S, S]. masks: uint8 [N, S, S]. logits: float32 [N, 1, S, S]. captions: N short texts.

        Returns:
            uint8 RGB [20 + rows * 276, columns * 256, 3]: a legend, then tiles of 256 px with their captions below.
        """
        tiles = []
        for image, mask, logit, caption in zip(images, masks, logits[:, 0], captions, strict=True):
            tile = cv2.cvtColor(cv2.resize(image, (256, 256)), cv2.COLOR_GRAY2RGB)
            for lesion, colour in ((mask, TRUTH), ((logit > 0).astype(np.uint8), PREDICTION)):
                enlarged = cv2.resize(lesion, (256, 256), interpolation=cv2.INTER_NEAREST)
                outlines, _ = cv2.findContours(enlarged, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
                cv2.drawContours(tile, outlines, -1, colour, 1)
            tile = cv2.copyMakeBorder(tile, 0, 20, 0, 0, cv2.BORDER_CONSTANT, value=(0, 0, 0))
            cv2.putText(tile, caption, (4, 270), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 255), 1, cv2.LINE_AA)
            tiles.append(tile)
        columns = 4
        tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
        legend = np.zeros((20, columns * 256, 3), np.uint8)
        for x, text, colour in ((4, "truth", TRUTH), (60, "prediction", PREDICTION)):
            cv2.putText(legend, text, (x, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.4, colour, 1, cv2.LINE_AA)
        rows = [np.hstack(tiles[start : start + columns]) for start in range(0, len(tiles), columns)]
        return np.vstack([legend, *rows])
