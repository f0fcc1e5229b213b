"""How two models differ on the images that both predicted: paired differences with intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from orchestrator.ensemble.bootstrap import FEWEST_GROUPS, INTERVAL, interval, resamples, spread
from orchestrator.ensemble.scored import Scored, auroc, binary_auroc, dice, dice_by_image, fpr_normal
from orchestrator.pages.page import Table, number, spanned
from orchestrator.pages.results.scores import LOWER, METRICS
from orchestrator.pages.results.subject import Subject


@dataclass(frozen=True)
class Paired:
    """By how much `a` scores above `b` on a metric.

    Attributes:
        a, b: titles of the two models.
        metric: its name in `figures["scores"]`.
        images: those of both that the metric rests on.
        values: of `a` and of `b`, on these images.
        difference: of `a` minus `b`. low, high: its interval of 95 %; NaN of fewer than `FEWEST_GROUPS` groups.
    """

    a: str
    b: str
    metric: str
    images: int
    values: tuple[float, float]
    difference: float
    low: float
    high: float

    @property
    def better(self) -> str | None:
        """The title of the model that is better; None where the interval includes 0, or there is none."""
        if not (self.low > 0 or self.high < 0):
            return None
        return self.a if (self.difference > 0) != (self.metric in LOWER) else self.b


def _iou(scored: Scored) -> float:
    counts = _known_masks(scored)
    counts = counts[counts[:, 0] + counts[:, 2] > 0]
    return float((counts[:, 0] / counts.sum(1)).mean()) if len(counts) else float("nan")


def _dice_all(scored: Scored) -> float:
    values = dice_by_image(_known_masks(scored))
    return float(values.mean()) if len(values) else float("nan")


def _accuracy(scored: Scored) -> float:
    table = _class_confusion(scored)
    return float(table.trace() / table.sum()) if table.any() else float("nan")


def _balanced_accuracy(scored: Scored) -> float:
    table = _class_confusion(scored)
    there = table.sum(1) > 0
    return float((table.diagonal()[there] / table.sum(1)[there]).mean()) if there.any() else float("nan")


def _f1(scored: Scored) -> float:
    table = _class_confusion(scored)
    there = table.sum(1) > 0
    return (
        float((2 * table.diagonal() / (table.sum(0) + table.sum(1)).clip(1))[there].mean()) if there.any() else np.nan
    )


def _auroc_malignant(scored: Scored) -> float:
    assert scored.probabilities is not None
    known = scored.targets >= 0
    return binary_auroc(scored.probabilities[known, -1], scored.targets[known] == scored.probabilities.shape[1] - 1)


#: Metrics by name, as `orchestrator.ensemble.measures.scores` defines them, but fast: NaN where nothing is to rest on.
MASKS: dict[str, Callable[[Scored], float]] = {
    "dice": dice,
    "iou": _iou,
    "dice_all": _dice_all,
    "fpr_normal": fpr_normal,
}
CLASS: dict[str, Callable[[Scored], float]] = {
    "auroc": auroc,
    "auroc_malignant": _auroc_malignant,
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "f1": _f1,
}


def differences(subjects: Sequence[Subject]) -> list[Paired]:
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
        verdict = "too few groups" if not known else f"{one.better} is better" if one.better else "not told apart"
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
        "comparisons, not corrected for their number."
    )
    columns = ("models", "metric", "", "n", "first", "second", "difference", "95 % interval")
    return Table(caption, columns, rows, rules=new[1:], texts=3)


def _two(a: Subject, b: Subject) -> list[Paired]:
    place = {digest: row for row, digest in enumerate(b.tested.evidence.digests)}
    mine = np.array([row for row, digest in enumerate(a.tested.evidence.digests) if digest in place], np.int64)
    if not len(mine):
        return []
    its = np.array([place[a.tested.evidence.digests[row]] for row in mine])
    one, other = a.tested.evidence.scored.take(mine), b.tested.evidence.scored.take(its)
    metrics = MASKS if one.counts is not None and other.counts is not None else {}
    if a.classes and a.classes == b.classes:
        metrics = metrics | CLASS
    groups, labels = a.tested.evidence.groups[mine], a.tested.evidence.labels[mine]
    drawn = resamples(groups, labels, INTERVAL, 0) if metrics else []
    found = []
    for name, measure in metrics.items():
        values = measure(one), measure(other)
        if not np.isfinite(values).all():
            continue
        used = _rests_on(name, one)
        bounds = np.nan, np.nan
        if len(np.unique(groups[used])) >= FEWEST_GROUPS:
            bounds = interval(spread(measure, one, drawn) - spread(measure, other, drawn))
        found.append(Paired(a.title, b.title, name, int(used.sum()), values, values[0] - values[1], *bounds))
    return found


def _rests_on(metric: str, scored: Scored) -> np.ndarray:
    """The images that a metric looks at, bool [N]."""
    if metric in CLASS:
        return scored.targets >= 0
    assert scored.counts is not None
    lesion = scored.counts[:, 0] + scored.counts[:, 2] > 0
    return scored.has_mask & {"dice_all": np.ones_like(lesion), "fpr_normal": ~lesion}.get(metric, lesion)


def _known_masks(scored: Scored) -> np.ndarray:
    assert scored.counts is not None
    return scored.counts[scored.has_mask]


def _class_confusion(scored: Scored) -> np.ndarray:
    """Images of known class, int64 [K,K]: truth by likeliest class."""
    assert scored.probabilities is not None
    known, size = scored.targets >= 0, scored.probabilities.shape[1]
    which = scored.targets[known] * size + scored.probabilities[known].argmax(1)
    return np.bincount(which, minlength=size * size).reshape(size, size)
