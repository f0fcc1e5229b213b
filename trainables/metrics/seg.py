"""Segmentation metrics: per-image lesion Dice and its companions, from true positives and errors by image."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat


def confusion_counts(predicted: Tensor, target: Tensor) -> Tensor:
    """Pixels that are true positive, false positive and false negative, by image.

    Args:
        predicted: [B,1,H,W]; floating point is logits, cut at 0 (probability .5), anything else a mask of 0 and 1.
        target: mask of 0 and 1, any dtype, [B,1,H,W].

    Returns:
        int64 [B,3], on the same device.
    """
    lesion = (predicted > 0).flatten(1)
    truth = (target > 0).flatten(1)
    return torch.stack([(lesion & truth).sum(1), (lesion & ~truth).sum(1), (~lesion & truth).sum(1)], dim=1)


def segmentation_scores(counts: Tensor) -> dict[str, float]:
    """Scores of N images from their counts, int64 [N,3] as `confusion_counts` gives them.

    Returns:
        `dice`, `iou`: means over images that have a lesion; predicting nothing scores 0. `fpr_normal`: share of the
        images without one in which anything is predicted. `dice_all`: mean over all, where an image without a lesion
        scores 1 for an empty prediction, else 0. A score that has no image to rest on is left out: never NaN.
    """
    tp, fp, fn = counts.double().unbind(1)
    has_lesion = tp + fn > 0
    dice = torch.where(has_lesion, 2 * tp / (2 * tp + fp + fn).clamp(min=1), (fp == 0).double())
    iou = tp / (tp + fp + fn).clamp(min=1)
    scores = {
        "dice": dice[has_lesion],
        "iou": iou[has_lesion],
        "dice_all": dice,
        "fpr_normal": 1 - dice[~has_lesion],
    }
    return {name: values.mean().item() for name, values in scores.items() if len(values)}


def pixel_confusion(counts: Tensor, pixels: int) -> Tensor:
    """Pixels of all images together as a confusion matrix, int64 [2,2]: truth by prediction, {background, lesion}.

    Args:
        counts: int64 [N,3] as `confusion_counts` gives them.
        pixels: number of pixels of the N images.
    """
    tp, fp, fn = counts.sum(0).tolist()
    return torch.tensor([[pixels - tp - fp - fn, fp], [fn, tp]])


def hd95(predicted: np.ndarray, truth: np.ndarray) -> float:
    """95 % Hausdorff distance of two masks, bool [H,W], in pixels.

    From each outline (lesion pixels with a background pixel, or the image's edge, above, below, left or right) the
    distances to the other; the larger of the two 95th percentiles (Huttenlocher et al., TPAMI 1993, as MONAI computes
    it). One empty mask counts as the image's diagonal, two as 0.
    """
    if not predicted.any() or not truth.any():
        return float(np.hypot(*truth.shape)) if predicted.any() or truth.any() else 0.0
    outlines = _outline(predicted), _outline(truth)
    return max(_directed95(*outlines), _directed95(*outlines[::-1]))


def _outline(mask: np.ndarray) -> np.ndarray:
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    inside = cv2.erode(mask.astype(np.uint8), cross, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray(mask & (inside == 0))


def _directed95(start: np.ndarray, goal: np.ndarray) -> float:
    distances = cv2.distanceTransform((~goal).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return float(np.percentile(distances[start], 95))


class SegmentationMetrics(Metric):
    """`segmentation_scores` of everything given to `update(predicted, target)`, whatever the device or the sizes."""

    full_state_update = False
    counts: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("counts", default=[], dist_reduce_fx="cat")

    def update(self, predicted: Tensor, target: Tensor) -> None:
        """Add a batch, as for `confusion_counts`."""
        self.counts.append(confusion_counts(predicted, target))

    def compute(self) -> dict[str, float]:
        """The scores; empty if nothing was added."""
        return segmentation_scores(dim_zero_cat(self.counts).cpu()) if len(self.counts) else {}
