"""Tables of scores: all metrics side by side, those of each class, operating points, and what is taken for what."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from orchestrator.rendering.document import Table
from orchestrator.rendering.numbers import count, number, percent, with_interval
from orchestrator.report.results.means import by_title, counted_images, counted_kinds
from orchestrator.report.results.subject import ModelResults
from orchestrator.scoring.final_scores import ModelScores
from orchestrator.scoring.metrics import METRICS, PER_CLASS
from orchestrator.scoring.resampling import FEWEST_GROUPS, INTERVAL, Estimate

#: Said below figures of `ModelScores.scores`.
NO_INTERVAL = (
    f"There is none where a kind of image that a figure rests on has fewer than {FEWEST_GROUPS} groups, or where all "
    "resamples say the same."
)
PARTS = ("primary", "masks", "classes", "boxes")
Rows = list[list[str | int]]


def metrics(subjects: Sequence[ModelResults]) -> Table:
    """A row a metric, a column a model, each with its interval."""
    rows, rules = metric_rows([subject.figures for subject in subjects])
    who = by_title({subject.title: counted_images(subject.tested) for subject in subjects})
    rests = by_title({one.title: words for one in subjects if (words := counted_kinds(one.tested))})
    if rests:
        rests = f" Dice, IoU and distance rest on images with a lesion, false alarms on those without: {rests}."
    caption = (
        f"Scores on images that no model was trained on, masks at original size. n = {who}.{rests} In brackets 95 % "
        f"intervals over {INTERVAL:,} resamples of groups within classes. {NO_INTERVAL} Boxes have none either, nor "
        "has the calibration error, which resampling inflates."
    )
    return Table(caption, ("metric", *(subject.title for subject in subjects)), rows, rules)


def metric_rows(figures: Sequence[ModelScores]) -> tuple[Rows, list[int]]:
    """Rows of a table of metrics: words, then a cell for each set of figures; and where a new part begins.

    What any of them ranks by comes first. Metrics that none has are left out; `-` where one lacks it.
    """
    ranked = {one.metric for one in figures}
    parts: dict[str, Rows] = {part: [] for part in PARTS}
    for name, metric in METRICS.items():
        cells = [cell(one.scores.get(name), metric.digits) for one in figures]
        if any(cell != "-" for cell in cells):
            lower = " (lower is better)" if metric.better == "lower" else ""
            parts["primary" if name in ranked else metric.part].append([metric.words + lower, *cells])
    ends = np.cumsum([len(rows) for rows in parts.values() if rows])
    return [row for rows in parts.values() for row in rows], ends[:-1].tolist()


def per_class(subject: ModelResults) -> Table | None:
    """Each class against the rest; None for a model without classes."""
    if not subject.classes:
        return None
    scores, targets = subject.figures.scores, subject.tested.evidence.scored.targets
    rows: Rows = [
        [
            name,
            int((targets == index).sum()),
            *(cell(scores.get(f"{score}_{name}")) for score in PER_CLASS),
        ]
        for index, name in enumerate(subject.classes)
    ]
    caption = (
        f"{subject.title}: each class against the rest, by the likeliest class; n counts the images of the class, "
        f"of {int((targets >= 0).sum()):,}. In brackets 95 % intervals over resamples of groups. {NO_INTERVAL}"
    )
    return Table(caption, ("class", "n", *PER_CLASS.values()), rows)


def operating_points(subjects: Sequence[ModelResults]) -> Table | None:
    """Thresholds for malignant and what they do here; None where no model has any."""
    rows: Rows = []
    rules = []
    for subject in subjects:
        targets = subject.tested.evidence.scored.targets
        malignant = int((targets == len(subject.classes) - 1).sum())
        points = subject.figures.operating_points
        if points and rows:
            rules.append(len(rows))
        for point in points:
            rows.append(
                [
                    subject.title,
                    f"{100 * point.rate:.0f} % {point.kept}",
                    number(point.threshold, 3),
                    cell(point.sensitivity),
                    cell(point.specificity),
                    malignant,
                    point.n - malignant,
                ]
            )
    if not rows:
        return None
    caption = (
        "Malignant against the rest: an image is called malignant from a threshold of its probability upwards that "
        "keeps a rate on held-out predictions of training images. Nothing was fitted here; in brackets Wilson "
        "intervals of 95 %, which take images for independent."
    )
    columns = ("model", "kept on held-out images", "threshold", "sensitivity", "specificity", "malignant", "others")
    return Table(caption, columns, rows, rules, texts=2)


def confusion(subject: ModelResults) -> Table | None:
    """Images of each class by what they are called; None for a model without classes."""
    if not subject.classes or "classes" not in subject.figures.confusion:
        return None
    counts = np.array(subject.figures.confusion["classes"])
    words = f"{subject.title}: images by true class (rows) and likeliest class (columns), with shares of the row."
    return _counts(counts, subject.classes, f"{words} n = {counts.sum():,} images.")


def pixels(subject: ModelResults) -> Table | None:
    """Pixels by what they are called; None for a model without masks."""
    if "pixels" not in subject.figures.confusion:
        return None
    counts = np.array(subject.figures.confusion["pixels"])
    words = f"{subject.title}: pixels at original size, truth in rows, with shares of the row."
    known = int(subject.tested.evidence.scored.has_mask.sum())
    return _counts(counts, ("background", "lesion"), f"{words} n = {counts.sum():,} pixels of {known:,} images.")


def cell(found: Estimate | None, digits: int = 3) -> str:
    """A figure with its interval; `-` where there is none."""
    return "-" if found is None else with_interval(found.value, found.interval, digits)


def _counts(counts: np.ndarray, names: Sequence[str], caption: str) -> Table:
    rows: Rows = [
        [name, *(f"{count(n)} ({percent(n, row.sum())})" for n in row.tolist()), int(row.sum())]
        for name, row in zip(names, counts, strict=True)
    ]
    return Table(caption, ("truth", *(f"called {name}" for name in names), "all"), rows)
