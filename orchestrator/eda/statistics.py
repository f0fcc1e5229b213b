"""Medians of the classes, their differences and shares of images, with intervals over groups of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np

from orchestrator.eda.survey import Survey
from orchestrator.scoring.resampling import FEWEST_GROUPS, INTERVAL, interval, resamples
from trainables.data import CLASSES, NORMAL

#: Random splits by image, and their share of test images.
DRAWS, TEST_SHARE = 1000, 0.2


class Quantity(NamedTuple):
    """What classes are compared by.

    Attributes:
        name: key of `quantities`.
        words: what it is, in a table.
        unit: behind a value, with a space before it. digits: after the point.
        subject: whose it is, behind the class. less, more: what a class is that has less or more of it.
    """

    name: str
    words: str
    unit: str
    digits: int
    subject: str
    less: str
    more: str


QUANTITIES = (
    Quantity("brightness", "brightness (mean grey level, 0 to 255)", "", 1, "images", "darker than", "brighter than"),
    Quantity(
        "contrast", "contrast (SD of grey levels)", "", 1, "images", "of less contrast than", "of more contrast than"
    ),
    Quantity("share", "lesion size (share of the image)", " %", 1, "lesions", "smaller than", "larger than"),
    Quantity(
        "y",
        "lesion depth (centre below the top, share of the height)",
        " %",
        1,
        "lesions",
        "nearer the top than",
        "further below the top than",
    ),
    Quantity(
        "aspect", "lesion aspect (height over width)", "", 2, "lesions", "flatter than", "taller for their width than"
    ),
    Quantity(
        "ring_contrast",
        "lesion contrast (inside minus surroundings, in their SD)",
        "",
        2,
        "lesions",
        "darker against their surroundings than",
        "less dark against their surroundings than",
    ),
    Quantity(
        "shadow",
        "shadow (below minus beside the lesion, in SD of the surroundings)",
        "",
        2,
        "lesions",
        "followed by more shadow than",
        "followed by less shadow than",
    ),
)


@dataclass(frozen=True)
class Median:
    """The median of a class, with its interval (NaN of too few groups) and the number of images."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Comparison:
    """How two classes differ in the median of a quantity: `b` minus `a`, with its interval (NaN of too few groups)."""

    quantity: Quantity
    a: int
    b: int
    medians: tuple[Median, Median]
    difference: float
    low: float
    high: float

    @property
    def known(self) -> bool:
        """Whether there were enough groups for an interval."""
        return bool(np.isfinite(self.low))

    @property
    def asserted(self) -> bool:
        """Whether the interval excludes zero."""
        return self.known and not self.low <= 0 <= self.high


def quantities(survey: Survey) -> dict[str, np.ndarray]:
    """The values of QUANTITIES, float64 [N] each, NaN where an image has none; shares and heights in per cent."""
    measured = survey.measured
    lesion = np.where(measured["lesion_pixels"] > 0, measured["lesion_pixels"], np.nan)
    values = {name: measured[name] for name in ("brightness", "contrast", "aspect", "ring_contrast", "shadow")}
    return {**values, "share": 100 * lesion / measured["pixels"], "y": 100 * measured["y"]}


def compare(survey: Survey, seed: int = 0) -> tuple[dict[tuple[str, int], Median], list[Comparison]]:
    """Medians by quantity and class, and all pairs of classes; of train and validation images alone.

    Intervals are of 2,000 resamples of groups within classes, the same ones for everything here.
    """
    rows = np.flatnonzero(survey.seen & (survey.data.labels >= 0))
    labels, groups = survey.data.labels[rows], survey.data.groups[rows]
    drawn = resamples(groups, labels, INTERVAL, seed) if len(rows) else []
    medians: dict[tuple[str, int], Median] = {}
    comparisons = []
    for quantity in QUANTITIES:
        values = quantities(survey)[quantity.name][rows]
        spreads: dict[int, np.ndarray] = {}
        for label in range(len(CLASSES)):
            used = np.isfinite(values) & (labels == label)
            if not used.any() or (quantity.subject == "lesions" and label == NORMAL):
                continue
            spreads[label] = np.full(1, np.nan)
            if len(np.unique(groups[used])) >= FEWEST_GROUPS:
                spreads[label] = np.array([_median(values[sample[used[sample]]]) for sample in drawn])
            medians[quantity.name, label] = Median(
                float(np.median(values[used])), *interval(spreads[label]), int(used.sum())
            )
        for a, b in combinations(spreads, 2):
            pair = medians[quantity.name, a], medians[quantity.name, b]
            low, high = interval(spreads[b] - spreads[a])
            comparisons.append(Comparison(quantity, a, b, pair, pair[1].value - pair[0].value, low, high))
    return medians, comparisons


def _median(values: np.ndarray) -> float:
    # A class can be missing from a resample where its images stand in groups of mostly another class.
    return float(np.median(values)) if len(values) else float("nan")


def ratio_interval(above: np.ndarray, below: np.ndarray, groups: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """Interval of the sum of `above` over the sum of `below`, float [N] each, over resamples of groups, int64 [N].

    NaN, NaN of fewer than `FEWEST_GROUPS` groups.
    """
    if len(np.unique(groups)) < FEWEST_GROUPS:
        return float("nan"), float("nan")
    drawn = resamples(groups, np.zeros(len(groups), np.int64), INTERVAL, seed)
    sums = np.array([(above[sample].sum(), below[sample].sum()) for sample in drawn])
    return interval(np.divide(sums[:, 0], sums[:, 1], out=np.full(len(sums), np.nan), where=sums[:, 1] > 0))


def twins_in_training(clusters: Sequence[int], seed: int = 0) -> tuple[float, float, float]:
    """Share of test images with a near-duplicate in training where images are split one by one at random.

    Args:
        clusters: number of the near-duplicate cluster of each image, at least 0.

    Returns:
        Mean over `DRAWS` random splits, and the bounds of the middle 95 % of them.
    """
    numbers = np.unique(clusters, return_inverse=True)[1]
    sizes = np.bincount(numbers)
    test = max(1, round(TEST_SHARE * len(numbers)))
    rng = np.random.default_rng(seed)
    shares = []
    for _ in range(DRAWS):
        held = numbers[rng.permutation(len(numbers))[:test]]
        shares.append(np.mean(np.bincount(held, minlength=len(sizes))[held] < sizes[held]))
    return float(np.mean(shares)), *interval(np.array(shares))
