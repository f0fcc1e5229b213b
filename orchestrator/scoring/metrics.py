"""What predictions of N images score by: small enough to be drawn anew a thousand times. Plain numpy and scipy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from scipy.stats import rankdata

from trainables.data import CLASSES


@dataclass(frozen=True)
class ScoredPredictions:
    """Predictions of N images beside the truth, in what the metrics need.

    Attributes:
        probabilities: of the K classes, float64 [N,K]; None for seg.
        targets: int64 [N], 0..K-1, -1 unknown; all -1 for seg.
        counts: true positive, false positive and false negative pixels at original size, int64 [N,3]; of no account
            where the mask is not known; None for cls.
        has_mask: bool [N], whether the mask is known.
    """

    probabilities: np.ndarray | None
    targets: np.ndarray
    counts: np.ndarray | None
    has_mask: np.ndarray

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, rows: np.ndarray) -> Self:
        """These rows (int64) alone, as often as they are named."""
        return type(self)(
            None if self.probabilities is None else self.probabilities[rows],
            self.targets[rows],
            None if self.counts is None else self.counts[rows],
            self.has_mask[rows],
        )

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """All images of the parts, one part after the other; either all or none of them have classes, or masks."""
        first = parts[0]
        return cls(
            None if first.probabilities is None else np.concatenate([part.probabilities for part in parts]),
            np.concatenate([part.targets for part in parts]),
            None if first.counts is None else np.concatenate([part.counts for part in parts]),
            np.concatenate([part.has_mask for part in parts]),
        )


def primary(task: str, scored: ScoredPredictions) -> float:
    """The task's primary metric: `dice` for seg, `auroc` for cls, `score` for multi, which is the mean of both.

    As `segmentation_scores`, `classification_scores` and `MultiMetrics` define them, which tests hold it to; NaN where
    the images have nothing that it rests on, and for multi then that part alone which has.
    """
    parts = {"seg": (dice,), "cls": (auroc,), "multi": (dice, auroc)}[task]
    values = [value for part in parts if not math.isnan(value := part(scored))]
    return sum(values) / len(values) if values else math.nan


def dice(scored: ScoredPredictions) -> float:
    """Mean lesion Dice of the images with a known lesion; NaN where there is none."""
    if scored.counts is None:
        return math.nan
    counts = scored.counts[scored.has_mask]
    return _mean(dice_by_image(counts)[_lesions(counts)])


def fpr_normal(scored: ScoredPredictions) -> float:
    """Share of images known to be without a lesion in which one is predicted; NaN where there is none, or no masks."""
    if scored.counts is None:
        return math.nan
    counts = scored.counts[scored.has_mask]
    return _mean(1 - dice_by_image(counts)[~_lesions(counts)])


def dice_by_image(counts: np.ndarray) -> np.ndarray:
    """`dice_all` of each image, float64 [N], from counts int64 [N,3]: without a lesion 1 for an empty mask, else 0."""
    tp, fp, fn = counts.T.astype(np.float64)
    return np.where(_lesions(counts), 2 * tp / np.maximum(2 * tp + fp + fn, 1), fp == 0)


def auroc(scored: ScoredPredictions) -> float:
    """Mean over the classes that are there of the area under the one-vs-rest ROC curve; NaN for a single class.

    From mean ranks (Hanley and McNeil, Radiology 143, 1982, 29-36), a tenth of the time of scikit-learn's curve.
    """
    known = scored.targets >= 0
    if scored.probabilities is None or not known.any():
        return math.nan
    probabilities, targets = scored.probabilities[known], scored.targets[known]
    areas = [binary_auroc(column, targets == index) for index, column in enumerate(probabilities.T)]
    return _mean(np.array([area for area in areas if not math.isnan(area)]))


def binary_auroc(scores: np.ndarray, positive: np.ndarray) -> float:
    """Chance that a positive (bool [N]) scores (float [N]) above a negative, ties half; NaN without one of each."""
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives:
        return math.nan
    ranks = rankdata(scores)[positive].sum()
    return float((ranks - positives * (positives + 1) / 2) / (positives * negatives))


def _lesions(counts: np.ndarray) -> np.ndarray:
    return counts[:, 0] + counts[:, 2] > 0


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else math.nan


def _iou(scored: ScoredPredictions) -> float:
    counts = _known_masks(scored)
    counts = counts[counts[:, 0] + counts[:, 2] > 0]
    return float((counts[:, 0] / counts.sum(1)).mean()) if len(counts) else float("nan")


def _dice_all(scored: ScoredPredictions) -> float:
    values = dice_by_image(_known_masks(scored))
    return float(values.mean()) if len(values) else float("nan")


def _accuracy(scored: ScoredPredictions) -> float:
    table = _class_confusion(scored)
    return float(table.trace() / table.sum()) if table.any() else float("nan")


def _balanced_accuracy(scored: ScoredPredictions) -> float:
    table = _class_confusion(scored)
    there = table.sum(1) > 0
    return float((table.diagonal()[there] / table.sum(1)[there]).mean()) if there.any() else float("nan")


def _f1(scored: ScoredPredictions) -> float:
    table = _class_confusion(scored)
    there = table.sum(1) > 0
    return (
        float((2 * table.diagonal() / (table.sum(0) + table.sum(1)).clip(1))[there].mean()) if there.any() else np.nan
    )


def _auroc_malignant(scored: ScoredPredictions) -> float:
    assert scored.probabilities is not None
    known = scored.targets >= 0
    return binary_auroc(scored.probabilities[known, -1], scored.targets[known] == scored.probabilities.shape[1] - 1)


def _known_masks(scored: ScoredPredictions) -> np.ndarray:
    assert scored.counts is not None
    return scored.counts[scored.has_mask]


def _class_confusion(scored: ScoredPredictions) -> np.ndarray:
    """Images of known class, int64 [K,K]: truth by likeliest class."""
    assert scored.probabilities is not None
    known, size = scored.targets >= 0, scored.probabilities.shape[1]
    which = scored.targets[known] * size + scored.probabilities[known].argmax(1)
    return np.bincount(which, minlength=size * size).reshape(size, size)


class Metric(NamedTuple):
    """A metric's part of the table, and its name in words."""

    part: str
    words: str


def kinds(metric: str, scored: ScoredPredictions) -> list[np.ndarray]:
    """Those of a metric, bool [N] each; one that has no image is there only where the metric is of nothing else.

    Args:
        metric: its name, as `orchestrator.scoring.measure.scores` has it. scored: N images.

    Returns:
        Recall of a class rests on its images, specificity on the others, and its precision, F1 and AUROC on both; means
        over classes on each class that is there; the `score` of multi on what Dice and AUROC rest on; `miou` on the
        lesions of each class.
    """
    known = scored.targets >= 0
    classes = [scored.targets == label for label in np.unique(scored.targets[known])]
    if scored.counts is not None:
        lesion = scored.has_mask & (scored.counts[:, 0] + scored.counts[:, 2] > 0)
        of_masks = {
            "dice": [lesion],
            "iou": [lesion],
            "hd95": [lesion],
            "dice_all": [scored.has_mask],
            "fpr_normal": [scored.has_mask & ~lesion],
            "score": [kind for kind in (lesion, *classes) if kind.any()],
            "miou": [both for one in classes if (both := lesion & one).any()],
        }
        if metric in of_masks:
            return of_masks[metric]
    if metric in EVERY_IMAGE:
        return [known]
    score, _, name = metric.rpartition("_")
    if name in CLASSES and scored.probabilities is not None:
        inside = scored.targets == CLASSES[-scored.probabilities.shape[1] :].index(name)
        others = known & ~inside
        return {"recall": [inside], "specificity": [others]}.get(score, [inside, others])
    return classes


#: Metrics by name, as `orchestrator.scoring.measure.scores` defines them, but fast: NaN where nothing is to rest on.
MASKS: dict[str, Callable[[ScoredPredictions], float]] = {
    "dice": dice,
    "iou": _iou,
    "dice_all": _dice_all,
    "fpr_normal": fpr_normal,
}


CLASS: dict[str, Callable[[ScoredPredictions], float]] = {
    "auroc": auroc,
    "auroc_malignant": _auroc_malignant,
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "f1": _f1,
}


#: In the order of the table, by their names in `figures["scores"]`.
METRICS = {
    "score": Metric("primary", "score, mean of Dice and AUROC"),
    "dice": Metric("masks", "Dice of lesions"),
    "iou": Metric("masks", "IoU of lesions"),
    "dice_all": Metric("masks", "Dice of all images, an empty mask right for normals"),
    "fpr_normal": Metric("masks", "share of normals with a false alarm"),
    "hd95": Metric("masks", "95 % Hausdorff distance, pixels"),
    "miou": Metric("masks", "mean IoU of background, benign, malignant pixels"),
    "auroc": Metric("classes", "AUROC, mean of classes"),
    "auroc_malignant": Metric("classes", "AUROC of malignant"),
    "map": Metric("classes", "average precision, mean of classes"),
    "accuracy": Metric("classes", "accuracy"),
    "balanced_accuracy": Metric("classes", "balanced accuracy (mean recall)"),
    "precision": Metric("classes", "precision, mean of classes"),
    "specificity": Metric("classes", "specificity, mean of classes"),
    "f1": Metric("classes", "F1, mean of classes"),
    "nll": Metric("classes", "negative log-likelihood"),
    "brier": Metric("classes", "Brier score, 0 to 2"),
    "ece": Metric("classes", "expected calibration error"),
    "map_box": Metric("boxes", "COCO mAP of boxes"),
    "map_box50": Metric("boxes", "AP50 of boxes"),
}


#: Metrics of which less is better.
LOWER = frozenset({"fpr_normal", "hd95", "nll", "brier", "ece"})


#: Those that are not shares are read with fewer digits.
DIGITS = {"hd95": 1}


#: Means over all images of known class.
EVERY_IMAGE = frozenset({"accuracy", "nll", "brier", "ece"})
