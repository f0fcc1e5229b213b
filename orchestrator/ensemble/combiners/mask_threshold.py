"""Pixels right and wrong at each image's original size, and the mask threshold that they choose. Numpy and OpenCV."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from orchestrator.ensemble.held_out import OutOfFoldPredictions
from orchestrator.scoring.values import dice_by_image, has_lesion
from trainables.data.pixels import to_original_size

_PER_LOGIT = 8
#: Thresholds that are tried, in calibrated logits. Eighths are exact in float32, so a pixel that was counted above one
#: is above it in every prediction.
THRESHOLDS = np.arange(-4 * _PER_LOGIT, 4 * _PER_LOGIT + 1, dtype=np.float32) / _PER_LOGIT

#: Share of the largest lesion Dice that a threshold keeps: docs/methods.md has it beside other rules.
KEPT = 0.95
ROUNDING = 1e-12


def threshold_counts(logits: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """True positive, false positive and false negative pixels at each of the T `THRESHOLDS`, int64 [T,3].

    Args:
        logits: float32 [H,W], finite; above a threshold is lesion. truth: bool [H,W].
    """
    bins = len(THRESHOLDS) + 1
    # How many thresholds lie below each pixel; multiplying by a power of two rounds nothing.
    below = np.ceil(logits * np.float32(_PER_LOGIT)).clip(-4 * _PER_LOGIT, 4 * _PER_LOGIT + 1).astype(np.int64)
    below += 4 * _PER_LOGIT + bins * truth
    background, lesion = np.bincount(below.ravel(), minlength=2 * bins).reshape(2, bins)
    above = np.cumsum([lesion[::-1], background[::-1]], axis=1)[:, ::-1][:, 1:]
    return np.stack([above[0], above[1], lesion.sum() - above[0]], axis=1).astype(np.int64)


def original_counts(planes: Iterable[np.ndarray], held_out: OutOfFoldPredictions) -> np.ndarray:
    """`threshold_counts` of each row at its original size, int64 [N,T,3]; 0 where the mask is not known.

    Args:
        planes: calibrated logits of the N rows, each float32 [S,S].
    """
    counts = np.zeros((len(held_out), len(THRESHOLDS), 3), np.int64)
    for row, logits, truth in _at_original_size(planes, held_out):
        counts[row] = threshold_counts(logits, truth)
    return counts


def counts_above(threshold: float, planes: Iterable[np.ndarray], held_out: OutOfFoldPredictions) -> np.ndarray:
    """The same at one threshold alone, int64 [N,3]."""
    counts = np.zeros((len(held_out), 3), np.int64)
    for row, logits, truth in _at_original_size(planes, held_out):
        predicted = logits > np.float32(threshold)
        tp = np.count_nonzero(predicted & truth)
        counts[row] = tp, np.count_nonzero(predicted) - tp, np.count_nonzero(truth) - tp
    return counts


def best_threshold(counts: np.ndarray) -> int:
    """Index into `THRESHOLDS` of the largest mean `dice_all` at which lesions lose little; counts: int64 [N,T,3].

    Among those whose mean Dice of lesions is at least `KEPT` of its largest: without that an empty mask is best where a
    model is weak and normals are many. Of several the one nearest to 0. A row of zeros says nothing: it scores the same
    at all of them.
    """
    dice = dice_by_image(counts.reshape(-1, 3)).reshape(counts.shape[:2])
    lesions, everything = dice[has_lesion(counts[:, 0])], dice.mean(0)
    if len(lesions):
        of_lesions = lesions.mean(0)
        everything = np.where(of_lesions >= KEPT * of_lesions.max() - ROUNDING, everything, -1.0)
    return int(min(np.flatnonzero(everything >= everything.max() - ROUNDING), key=lambda i: abs(THRESHOLDS[i])))


def _at_original_size(
    planes: Iterable[np.ndarray], held_out: OutOfFoldPredictions
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Rows whose mask is known: row, logits float32 [H,W], true mask bool [H,W]."""
    assert held_out.originals
    for row, plane in enumerate(planes):
        if held_out.has_mask[row]:
            truth = held_out.originals[row]
            yield row, to_original_size(plane, *truth.shape, keep_aspect=held_out.keep_aspect), truth
