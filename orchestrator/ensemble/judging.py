"""The winner beside predictions that need no network: what it may be called."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from orchestrator.ensemble.held_out import OutOfFoldPredictions
from orchestrator.scoring.measure import Images
from orchestrator.scoring.operating_points import OperatingPoint
from orchestrator.scoring.trivial import best_of, trivial_dice
from orchestrator.scoring.values import ScoredPredictions
from orchestrator.scoring.verdict import Judgement, judge


def judge_held_out(
    scored: ScoredPredictions, held: OutOfFoldPredictions, points: Sequence[OperatingPoint], seed: int
) -> Judgement:
    """By cross-fitted predictions of the compared rows; the mean training mask of a row is of other folds.

    Args:
        scored: of the compared rows, in their order. points: operating points that ship.
    """
    rows = np.flatnonzero(held.compared)
    found = trivial_held_out(held, rows)
    return judge(scored, held.groups[rows], held.labels[rows], best_of(found) if found else None, points, seed)


def trivial_held_out(held: OutOfFoldPredictions, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Dice of trivial predictions on rows (int64 [n]), float64 [n] by name; empty without masks."""
    parts: dict[str, np.ndarray] = {}
    if held.truth is None or held.originals is None:
        return parts
    for fold in np.unique(held.folds[rows]):
        inside = np.flatnonzero(held.folds[rows] == fold)
        training = held.truth[(held.folds != fold) & held.has_mask]
        found = trivial_dice(training, held.originals, rows[inside], keep_aspect=held.keep_aspect)
        for name, dice in found.items():
            parts.setdefault(name, np.full(len(rows), np.nan))[inside] = dice
    return parts


def judge_test(
    scored: ScoredPredictions, images: Images, held: OutOfFoldPredictions, points: Sequence[OperatingPoint], seed: int
) -> Judgement:
    """By predictions of the test images; the mean training mask is of all held-out ones."""
    trivial = None
    if held.truth is not None and images.originals is not None:
        rows = np.arange(len(images.labels))
        training = held.truth[held.has_mask]
        trivial = best_of(trivial_dice(training, images.originals, rows, keep_aspect=images.keep_aspect))
    return judge(scored, images.groups, images.labels, trivial, points, seed)
