"""All of a task's metrics at original size, from figures by image that can be drawn anew a thousand times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import expit
from torch import Tensor

from orchestrator.scoring import weighted
from orchestrator.scoring.packed_masks import PackedMasks
from orchestrator.scoring.values import ScoredPredictions, class_confusion, primary
from trainables.data.manifest import CLASSES
from trainables.data.pixels import to_original_size
from trainables.metrics.cls import classification_scores
from trainables.metrics.detection import Boxes, component_boxes, detection_scores, true_boxes
from trainables.metrics.multi import class_pixel_confusion, mean_iou
from trainables.metrics.seg import confusion_counts, hd95, pixel_confusion, segmentation_scores

#: Their threshold is fitted on the very images; operating points stand in for them.
FITTED_HERE = frozenset({"sensitivity_at_90_specificity", "specificity_at_95_sensitivity"})


@dataclass(frozen=True)
class Images:
    """What is true of N images.

    Attributes:
        targets: int64 [N], 0..K-1, -1 unknown; all -1 for seg. has_mask: bool [N], whether the mask is known.
        originals: merged masks at original size; None for cls. keep_aspect: whether planes are letterboxed.
        labels: int64 [N], index into `CLASSES`, -1 unknown. groups: int64 [N].
    """

    targets: np.ndarray
    has_mask: np.ndarray
    originals: PackedMasks | None
    keep_aspect: bool
    labels: np.ndarray
    groups: np.ndarray


@dataclass(frozen=True)
class Predicted:
    """What a model says of N images.

    Attributes:
        probabilities: of the classes, float64 [N,K]; None for seg.
        planes: calibrated mask logits in the geometry of prepared data, float [N,S,S]; None for cls.
        threshold: a logit above it, at original size, is lesion.
    """

    probabilities: np.ndarray | None
    planes: np.ndarray | None
    threshold: float = 0.0


@dataclass(frozen=True)
class ImageMetrics:
    """Figures of N images that metrics are computed from.

    Attributes:
        scored: what the primary metric needs.
        distances: `hd95` in pixels of images with a known lesion, float64 [N], else NaN.
        pixels: of each image of known mask at original size, int64 [N], else 0.
        boxes: (predicted, true) of each image of known mask and class, for multi.
        masks: predicted, at original size; of no pixels where the true mask is not known. None for cls.
    """

    scored: ScoredPredictions
    distances: np.ndarray
    pixels: np.ndarray
    boxes: tuple[tuple[Boxes, Boxes], ...]
    masks: PackedMasks | None

    @classmethod
    def join(cls, parts: Sequence[ImageMetrics]) -> ImageMetrics:
        """All images of the parts, one part after the other; either all or none of them have masks."""
        masks = [part.masks for part in parts if part.masks is not None]
        return cls(
            ScoredPredictions.join([part.scored for part in parts]),
            np.concatenate([part.distances for part in parts]),
            np.concatenate([part.pixels for part in parts]),
            tuple(pair for part in parts for pair in part.boxes),
            PackedMasks.join(masks) if masks else None,
        )


def measure(predicted: Predicted, images: Images) -> ImageMetrics:
    """Masks are resized to original size (bilinear), then cut at the model's threshold."""
    count = len(images.targets)
    counts, distances, pixels = np.zeros((count, 3), np.int64), np.full(count, np.nan), np.zeros(count, np.int64)
    boxes = []
    if predicted.planes is None or images.originals is None:
        scored = ScoredPredictions(predicted.probabilities, images.targets, None, images.has_mask)
        return ImageMetrics(scored, distances, pixels, (), None)
    masks = [np.zeros((0, 0), bool)] * count
    for row in np.flatnonzero(images.has_mask).tolist():
        truth = images.originals[row]
        plane = predicted.planes[row].astype(np.float32)
        logits = to_original_size(plane, *truth.shape, keep_aspect=images.keep_aspect)
        lesion = logits > predicted.threshold
        counts[row] = confusion_counts(torch.from_numpy(lesion)[None], torch.from_numpy(truth)[None])[0]
        pixels[row], masks[row] = truth.size, lesion
        if truth.any():
            distances[row] = hd95(lesion, truth)
        if predicted.probabilities is not None and images.targets[row] >= 0:
            lesion_class = int(images.targets[row]) - predicted.probabilities.shape[1] + 2
            found = _boxes(lesion, logits, predicted.probabilities[row, -2:])
            boxes.append((found, true_boxes(truth, lesion_class)))
    scored = ScoredPredictions(predicted.probabilities, images.targets, counts, images.has_mask)
    return ImageMetrics(scored, distances, pixels, tuple(boxes), PackedMasks(masks))


def scores(task: str, measured: ImageMetrics) -> dict[str, float]:
    """All metrics but those of boxes; what has no image to rest on is left out, never NaN."""
    scored, distances, pixels = measured.scored, measured.distances, measured.pixels
    found: dict[str, float] = {}
    if scored.counts is not None and scored.has_mask.any():
        found |= segmentation_scores(torch.from_numpy(scored.counts[scored.has_mask]))
        if np.isfinite(distances).any():
            found["hd95"] = float(np.nanmean(distances))
    if scored.probabilities is not None:
        known = scored.targets >= 0
        classes = classification_scores(scored.probabilities[known], scored.targets[known])
        found |= {name: value for name, value in classes.items() if name not in FITTED_HERE}
    if task == "multi":
        confusion = _class_pixels(scored, pixels)
        found |= {"score": primary(task, scored)} if {"dice", "auroc"} & set(found) else {}
        found |= {"miou": mean_iou(confusion)} if confusion.any() else {}
    return found


def resampled_scores(task: str, measured: ImageMetrics, counts: np.ndarray) -> dict[str, np.ndarray]:
    """Those of `scores` that are resampled, on each resample, float64 [B]; NaN on one that lacks what it rests on.

    Args:
        counts: how often each image is in each resample, float64 [B,N].
    """
    scored = measured.scored
    found: dict[str, np.ndarray] = {}
    if scored.counts is not None:
        found |= weighted.mask_scores(scored, counts)
        found["hd95"] = weighted.mean(measured.distances, np.isfinite(measured.distances), counts)
    if scored.probabilities is not None:
        found |= weighted.class_scores(scored, counts)
    if task == "multi":
        found["score"] = weighted.mean_of_known([found["dice"], found["auroc"]])
        found["miou"] = _resampled_miou(scored, measured.pixels, counts)
    return found


def _resampled_miou(scored: ScoredPredictions, pixels: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """`mean_iou` of each resample, float64 [B]."""
    rows = np.arange(len(scored))
    each = np.stack([_class_pixels(scored.take(rows[i : i + 1]), pixels[i : i + 1]).numpy() for i in rows])
    tables = np.tensordot(counts, each.astype(np.float64), 1)
    hits = np.einsum("bii->bi", tables)
    union = tables.sum(1) + tables.sum(2) - hits
    with np.errstate(invalid="ignore"):
        return weighted.mean_of_known(list((hits / union).T))


def detections(measured: ImageMetrics) -> dict[str, float]:
    """`detection_scores` of all images; empty where there are no boxes."""
    return detection_scores(*zip(*measured.boxes, strict=True)) if measured.boxes else {}


def confusion(measured: ImageMetrics) -> dict[str, list[list[int]]]:
    """Counts, truth by prediction: `classes` of images, in the order of the classes, and `pixels`, background first."""
    scored = measured.scored
    tables = {}
    if scored.probabilities is not None:
        tables["classes"] = class_confusion(scored).tolist()
    if scored.counts is not None:
        counts = torch.from_numpy(scored.counts[scored.has_mask])
        tables["pixels"] = pixel_confusion(counts, int(measured.pixels.sum())).tolist()
    return tables


def _boxes(lesion: np.ndarray, logits: np.ndarray, chances: np.ndarray) -> Boxes:
    """As `predicted_boxes`, of a mask that need not be cut at a logit of 0; `chances` of benign and malignant."""
    label = int(chances.argmax())
    corners, means = component_boxes(lesion, expit(logits))
    return {
        "boxes": torch.from_numpy(corners),
        "scores": torch.from_numpy(means * np.float32(chances[label])),
        "labels": torch.full((len(corners),), label),
    }


def _class_pixels(scored: ScoredPredictions, pixels: np.ndarray) -> Tensor:
    """Pixels of the images of known mask and class, int64 [3,3], as `class_pixel_confusion` counts them."""
    assert scored.probabilities is not None
    assert scored.counts is not None
    both = scored.has_mask & (scored.targets >= 0)
    counts, probabilities = scored.counts[both], scored.probabilities[both]
    # A class's place in PIXEL_CLASSES; of normals 0, who have no lesion pixels to count.
    truth = scored.targets[both] + len(CLASSES) - probabilities.shape[1]
    arrays = counts, pixels[both] - counts.sum(1), 1 + probabilities[:, -2:].argmax(1), truth
    return class_pixel_confusion(*(torch.from_numpy(array) for array in arrays))
