"""Folds and standard errors where images of a group are not independent. Plain numpy."""

from __future__ import annotations

import numpy as np

FOLDS = 5


def inner_folds(groups: np.ndarray, labels: np.ndarray, seed: int = 0, folds: int = FOLDS) -> np.ndarray:
    """A fold for each row, int64 [N], whole groups at a time, fewer folds where there are fewer groups.

    Groups (int64 [N]) are dealt out in random order, class by class of their commonest label (int64 [N]). The order of
    the rows does not matter.
    """
    names, which = np.unique(groups, return_inverse=True)
    classes, labelled = np.unique(labels, return_inverse=True)
    table = np.zeros((len(names), len(classes)), np.int64)
    np.add.at(table, (which, labelled), 1)
    order = np.lexsort((np.random.default_rng(seed).random(len(names)), table.argmax(1) if len(names) else names))
    dealt = np.empty(len(names), np.int64)
    dealt[order] = np.arange(len(names)) % folds
    return dealt[which]


def grouped_error(values: np.ndarray, groups: np.ndarray) -> float:
    """Standard error of the mean of values, float [N], by group (int64 [N]); inf for a single group."""
    totals = np.bincount(np.unique(groups, return_inverse=True)[1], weights=values - values.mean())
    if len(totals) < 2:
        return float("inf")
    return float(np.sqrt(len(totals) / (len(totals) - 1) * np.square(totals).sum()) / len(values))
