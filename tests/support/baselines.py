"""What a model has to beat: segmenters without learning, for tests."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np


def grey_threshold_dice(
    train_images: Sequence[np.ndarray],
    train_masks: Sequence[np.ndarray],
    test_images: Sequence[np.ndarray],
    test_masks: Sequence[np.ndarray],
) -> float:
    """Mean lesion Dice on the test images of the largest connected component of the pixels on one side of a grey level.

    Level and side are those of the best mean lesion Dice on the training images. Images are uint8 [H,W] of any sizes,
    masks bool or 0/1 [H,W]; images without a lesion do not count.
    """
    levels = [(level, dark) for level in range(4, 256, 4) for dark in (True, False)]
    best = max(levels, key=lambda level: _mean_dice(train_images, train_masks, *level))
    return _mean_dice(test_images, test_masks, *best)


def _mean_dice(images: Sequence[np.ndarray], masks: Sequence[np.ndarray], level: int, dark: bool) -> float:
    return float(np.mean([_dice(i, m, level, dark) for i, m in zip(images, masks, strict=True) if m.any()]))


def _dice(image: np.ndarray, mask: np.ndarray, level: int, dark: bool) -> float:
    chosen = (image < level) if dark else (image >= level)
    _, components, stats, _ = cv2.connectedComponentsWithStats(chosen.astype(np.uint8), connectivity=4)
    if len(stats) == 1:
        return 0.0
    largest = components == 1 + stats[1:, cv2.CC_STAT_AREA].argmax()
    mask = mask.astype(bool)
    return 2.0 * (largest & mask).sum() / (largest.sum() + mask.sum())
