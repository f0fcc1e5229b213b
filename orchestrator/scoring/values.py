"""What predictions of N images score by: small enough to be drawn anew a thousand times. Plain numpy and scipy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.stats import rankdata


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
    counts = known_counts(scored)
    return _mean(dice_by_image(counts)[has_lesion(counts)])


def fpr_normal(scored: ScoredPredictions) -> float:
    """Share of images known to be without a lesion in which one is predicted; NaN where there is none, or no masks."""
    if scored.counts is None:
        return math.nan
    counts = known_counts(scored)
    return _mean(1 - dice_by_image(counts)[~has_lesion(counts)])


def dice_by_image(counts: np.ndarray) -> np.ndarray:
    """`dice_all` of each image, float64 [N], from counts int64 [N,3]: without a lesion 1 for an empty mask, else 0."""
    tp, fp, fn = counts.T.astype(np.float64)
    dice: np.ndarray = np.where(has_lesion(counts), 2 * tp / np.maximum(2 * tp + fp + fn, 1), fp == 0)
    return dice


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


def known_counts(scored: ScoredPredictions) -> np.ndarray:
    """Pixel counts of the images of known mask, int64 [M,3]."""
    assert scored.counts is not None
    counts: np.ndarray = scored.counts[scored.has_mask]
    return counts


def has_lesion(counts: np.ndarray) -> np.ndarray:
    """Which images have one, bool [N], by their pixel counts, int64 [N,3]."""
    shown: np.ndarray = counts[:, 0] + counts[:, 2] > 0
    return shown


def class_confusion(scored: ScoredPredictions) -> np.ndarray:
    """Images of known class, int64 [K,K]: truth by likeliest class."""
    assert scored.probabilities is not None
    known, size = scored.targets >= 0, scored.probabilities.shape[1]
    which = scored.targets[known] * size + scored.probabilities[known].argmax(1)
    return np.bincount(which, minlength=size * size).reshape(size, size)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else math.nan
