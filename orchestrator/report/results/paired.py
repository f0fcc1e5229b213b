"""How two models differ on the images that both predicted: paired differences with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from orchestrator.rendering.document import Table
from orchestrator.rendering.numbers import number, spanned
from orchestrator.report.results.subject import ModelResults
from orchestrator.scoring import weighted
from orchestrator.scoring.metrics import METRICS, each_class, every_image
from orchestrator.scoring.resampling import FEWEST_GROUPS, INTERVAL, enough, resample_counts, telling_interval


@dataclass(frozen=True)
class Paired:
    """By how much `a` scores above `b` on a metric.

    Attributes:
        a, b: titles of the two models.
        metric: its name in `METRICS`.
        images: those of both that the metric rests on.
        values: of `a` and of `b`, on these images.
        difference: of `a` minus `b`. low, high: its interval of 95 %; NaN where a kind of image that the metric
            rests on has fewer than `FEWEST_GROUPS` groups, or where it is alike.
        alike: whether it is the same on all resamples.
    """

    a: str
    b: str
    metric: str
    images: int
    values: tuple[float, float]
    difference: float
    low: float
    high: float
    alike: bool = False

    @property
    def better(self) -> str | None:
        """The title of the model that is better; None where the interval includes 0, or there is none."""
        if not (self.low > 0 or self.high < 0):
            return None
        return self.a if (self.difference > 0) != (METRICS[self.metric].better == "lower") else self.b


def differences(subjects: Sequence[ModelResults]) -> list[Paired]:
    """Every two models on every metric that both have, on the images that both predicted.

    Classes are compared only where both know the same ones. Both sides take the same `INTERVAL` resamples of groups
    within classes.
    """
    return [paired for a, b in combinations(subjects, 2) for paired in _two(a, b)]


def table(pairs: Sequence[Paired]) -> Table:
    """All of them, those that are not told apart, too."""
    rows: list[list[str | int]] = []
    new: list[int] = []
    for i, one in enumerate(pairs):
        if i and (one.a, one.b) == (pairs[i - 1].a, pairs[i - 1].b):
            names = ""
        else:
            names, new = f"{one.a} − {one.b}", [*new, i]
        known = np.isfinite(one.low)
        few = not known and not one.alike
        verdict = "too few groups" if few else f"{one.better} is better" if one.better else "not told apart"
        rows.append(
            [
                names,
                METRICS[one.metric].words,
                verdict,
                one.images,
                *(number(value, 3) for value in one.values),
                number(one.difference, 3, sign=True),
                spanned(one.low, one.high, 3, sign=True) if known else "-",
            ]
        )
    caption = (
        "Paired differences on the images that both models predicted; n is the number that the metric rests on. "
        f"95 % intervals over {INTERVAL:,} resamples of groups within classes, the same ones for both; of single "
        "comparisons, not corrected for their number. There is none where a class, or lesions or normals for masks, "
        f"have fewer than {FEWEST_GROUPS} groups, or where all resamples say the same."
    )
    columns = ("models", "metric", "", "n", "first", "second", "difference", "95 % interval")
    return Table(caption, columns, rows, rules=new[1:], texts=3)


def _two(a: ModelResults, b: ModelResults) -> list[Paired]:
    place = {key: row for row, key in enumerate(b.keys)}
    both = [(row, place[key]) for row, key in enumerate(a.keys) if key in place]
    mine, its = np.array(both, np.int64).reshape(-1, 2).T
    if not len(mine):
        return []
    one, other = a.tested.evidence.scored.take(mine), b.tested.evidence.scored.take(its)
    parts = {"masks", "classes"} if a.classes and a.classes == b.classes else {"masks"}
    metrics = [
        metric
        for metric in METRICS.values()
        if metric.compared and metric.part in parts and metric.known_of(one) and metric.known_of(other)
    ]
    groups, labels = a.tested.evidence.groups[mine], a.tested.evidence.labels[mine]
    counts = resample_counts(groups, labels, INTERVAL if metrics else 0, 0)
    found = []
    for metric in metrics:
        fast = weighted.FAST[metric.name]
        values = weighted.once(fast, one), weighted.once(fast, other)
        if not np.isfinite(values).all():
            continue
        # Accuracy, too, is compared only where there is enough of every class.
        rests_on = (each_class if metric.rests_on is every_image else metric.rests_on)(one)
        low, high, alike = np.nan, np.nan, False
        if enough(groups, rests_on):
            low, high = telling_interval(fast(one, counts) - fast(other, counts))
            alike = not np.isfinite(low)
        images = int(np.any(rests_on, axis=0).sum())
        found.append(Paired(a.title, b.title, metric.name, images, values, values[0] - values[1], low, high, alike))
    return found
