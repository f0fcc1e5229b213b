"""Resamples of groups within class strata, and what a metric, or the difference of two models, varies by over them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from pydantic import BaseModel

from orchestrator.scoring import weighted
from orchestrator.scoring.values import ScoredPredictions

FOLDS = 5

#: Resamples for a choice, of which only the standard error is needed, and for an interval.
CHOICE, INTERVAL = 1000, 2000
#: Fewer groups than this are too few for an interval over groups.
FEWEST_GROUPS = 10
#: Values that are no further apart are alike.
ROUNDING = 1e-9


class Estimate(BaseModel, frozen=True):
    """A figure, with its interval of 95 % if there is one."""

    value: float
    interval: tuple[float, float] | None = None


def resamples(groups: np.ndarray, labels: np.ndarray, count: int, seed: int) -> list[np.ndarray]:
    """Rows of `count` bootstrap samples: as many groups of each class as there are, drawn with replacement.

    Whole groups, since images of one patient are not independent (Field and Welsh, JRSS B 69, 2007, 369-390).

    Args:
        groups: int64 [N]. labels: int64 [N], -1 for unknown, which is a stratum too. A group is in the stratum of its
            commonest label, the lowest one if there are several.
        seed: the same seed, groups and labels give the same samples: both sides of a paired difference take them.

    Returns:
        `count` arrays of rows, int64, each row as often as its group was drawn.
    """
    names, which = np.unique(groups, return_inverse=True)
    classes, labelled = np.unique(labels, return_inverse=True)
    table = np.zeros((len(names), len(classes)), np.int64)
    np.add.at(table, (which, labelled), 1)
    strata = table.argmax(1)
    members = np.split(np.argsort(which, kind="stable"), np.cumsum(table.sum(1))[:-1])
    rng = np.random.default_rng(seed)
    drawn = [
        rng.choice(inside, (count, len(inside)))
        for stratum in range(len(classes))
        if len(inside := np.flatnonzero(strata == stratum))
    ]
    return [np.concatenate([members[group] for group in sample]) for sample in np.concatenate(drawn, axis=1)]


def resample_counts(groups: np.ndarray, labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """How often each row is in each of `resamples`: float64 [count,N]."""
    found = np.zeros((count, len(groups)))
    for times, rows in zip(found, resamples(groups, labels, count, seed) if len(groups) else (), strict=False):
        times[:] = np.bincount(rows, minlength=len(groups))
    return found


def standard_error(values: np.ndarray) -> float:
    """Standard deviation over resamples, float [count]; those of NaN do not count; NaN with fewer than two."""
    finite = values[np.isfinite(values)]
    return float(finite.std(ddof=1)) if len(finite) > 1 else float("nan")


def interval(values: np.ndarray) -> tuple[float, float]:
    """Percentile interval of 95 % over resamples, float [count]; those of NaN do not count; NaN without any.

    Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
    """
    finite = values[np.isfinite(values)]
    if not len(finite):
        return float("nan"), float("nan")
    low, high = np.percentile(finite, (2.5, 97.5))
    return float(low), float(high)


def finite(bounds: tuple[float, float]) -> tuple[float, float] | None:
    """Bounds of an interval; None where they are not known."""
    return bounds if np.isfinite(bounds).all() else None


def telling_interval(values: np.ndarray) -> tuple[float, float]:
    """As `interval`, but NaN where all are alike: a bootstrap of what never varied cannot say how sure it is."""
    finite = values[np.isfinite(values)]
    # Means of the same figures differ by rounding.
    return interval(finite) if len(finite) and np.ptp(finite) > ROUNDING else (float("nan"), float("nan"))


def estimate(values: np.ndarray) -> Estimate | None:
    """Of the images as they are, values[0], with the interval of resamples, values[1:]; None where it is not known."""
    if not np.isfinite(values[0]):
        return None
    return Estimate(value=float(values[0]), interval=finite(telling_interval(values[1:])))


def enough(groups: np.ndarray, kinds: Sequence[np.ndarray]) -> bool:
    """Whether each kind, bool [N], of images, whose groups are int64 [N], has groups enough for an interval."""
    return all(len(np.unique(groups[inside])) >= FEWEST_GROUPS for inside in kinds)


def paired_interval(
    task: str, a: ScoredPredictions, b: ScoredPredictions, groups: np.ndarray, labels: np.ndarray, seed: int = 0
) -> tuple[float, float, float]:
    """By how much `a` is better than `b` on the primary metric: (difference, low, high), the last two of 95 %.

    Args:
        task: seg, cls or multi.
        a, b: predictions of two models for the same N images in the same order.
        groups, labels: of these images, as for `resamples`; `INTERVAL` of which both take.
    """
    counts = resample_counts(groups, labels, INTERVAL, seed)
    measure = partial(weighted.primary, task)
    bounds = interval(measure(a, counts) - measure(b, counts))
    return weighted.once(measure, a) - weighted.once(measure, b), *bounds


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
