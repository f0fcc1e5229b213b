"""Detection metrics of masks: one box per lesion component, COCO mean average precision."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from scipy.special import expit
from torch import Tensor
from torchmetrics.detection import MeanAveragePrecision

#: Components below this share of the image are specks, not lesions.
LEAST_AREA = 0.001

#: An image as torchmetrics takes it: `boxes` float32 [k,4], `labels` int64 [k], `scores` float32 [k] if predicted.
Boxes = dict[str, Tensor]


def component_boxes(mask: np.ndarray, probability: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """One box for each 8-connected component of at least .1 % of the image.

    Args:
        mask: bool [H,W].
        probability: of lesion by pixel, float [H,W]; None for a true mask.

    Returns:
        Boxes float32 [k,4] as (left, top, right, bottom) in pixels, right and bottom exclusive, and the mean
        probability within each component, float32 [k] (1 for a true mask).
    """
    count, components, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    kept = [i for i in range(1, count) if stats[i, cv2.CC_STAT_AREA] >= LEAST_AREA * mask.size]
    corners = stats[kept, :2]
    boxes = np.hstack([corners, corners + stats[kept, 2:4]]).astype(np.float32)
    means = [1.0 if probability is None else probability[components == i].mean() for i in kept]
    return boxes, np.array(means, np.float32)


def predicted_boxes(mask_logits: np.ndarray, class_probabilities: Sequence[float]) -> Boxes:
    """Boxes of an image's prediction; all take the likelier lesion class.

    Args:
        mask_logits: float [H,W], cut at 0.
        class_probabilities: of benign and malignant.

    Returns:
        Boxes whose score is class probability x mean mask probability; label 0 is benign, 1 malignant.
    """
    label = int(np.argmax(class_probabilities))
    boxes, means = component_boxes(mask_logits > 0, expit(mask_logits))
    scores = torch.from_numpy(means * np.float32(class_probabilities[label]))
    return {"boxes": torch.from_numpy(boxes), "scores": scores, "labels": torch.full((len(boxes),), label)}


def true_boxes(mask: np.ndarray, label: int) -> Boxes:
    """Boxes of a true mask, bool [H,W]; label 0 is benign, 1 malignant."""
    boxes, _ = component_boxes(mask)
    return {"boxes": torch.from_numpy(boxes), "labels": torch.full((len(boxes),), label)}


def detection_scores(predicted: Sequence[Boxes], truth: Sequence[Boxes]) -> dict[str, float]:
    """COCO mean average precision over the lesion classes (Lin et al., ECCV 2014; pycocotools through torchmetrics).

    Returns:
        `map_box` (mean over box IoU .5, .55 ... .95) and `map_box50` (at .5); empty where there is no true box.
    """
    if not any(len(one["labels"]) for one in truth):
        return {}
    metric = MeanAveragePrecision(box_format="xyxy", iou_type="bbox")
    metric.update(list(predicted), list(truth))
    scores = metric.compute()
    return {"map_box": scores["map"].item(), "map_box50": scores["map_50"].item()}
