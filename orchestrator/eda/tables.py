"""Tables of a dataset."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from orchestrator.eda.statistics import QUANTITIES, Comparison, Median
from orchestrator.eda.survey import PARTS, Survey, class_name
from orchestrator.rendering.document import Table
from orchestrator.rendering.numbers import counted, number, percent, spanned
from trainables.data import CLASSES
from trainables.data.manifest import TEST

Rows = list[list[str | int]]

#: Rows of the table of faults; all of them are in a run's `faults.txt`.
MOST_FAULTS = 400


def class_counts(survey: Survey) -> Table:
    """Images of each class in each part of the split."""
    everything = np.ones(len(survey.parts), bool)
    columns = [survey.parts == part for part in PARTS] + [everything]
    rows: Rows = [
        [class_name(label), *(int((survey.data.labels[part] == label).sum()) for part in columns)]
        for label in survey.classes
    ]
    total: list[str | int] = ["all", *(int(part.sum()) for part in columns)]
    caption = f"Images of each class by part of the split. n = {len(survey.parts):,} images used."
    return Table(caption, ("class", *PARTS, "all"), [*rows, total], rules=(len(rows),), total=True)


def split_balance(survey: Survey) -> Table:
    """Images, groups and shares of classes of each part and each fold."""
    data = survey.data
    folds = sorted(set(data.split.tolist()) - {TEST})
    named = [(part, survey.parts == part) for part in PARTS]
    named += [(f"fold {fold}" + (" (validation)" if fold == 0 else ""), data.split == fold) for fold in folds]
    rows: Rows = []
    for name, inside in named:
        shares = [f"{int(n):,} ({percent(n, inside.sum())})" for n in _per_class(survey, inside)]
        rows.append([name, int(inside.sum()), len(np.unique(data.groups[inside])), *shares])
    columns = ("part", "images", "groups", *map(class_name, survey.classes))
    caption = (
        f"Images, groups and classes of each part, and of the folds that train and validation are made of. "
        f"n = {len(data.labels):,} images used in {len(np.unique(data.groups)):,} groups."
    )
    return Table(caption, columns, rows, rules=(len(PARTS),))


def pixel_counts(survey: Survey) -> Table:
    """Tumour and background pixels by class and by part, at original size."""
    known, labels = survey.data.has_mask, survey.data.labels
    lesion, pixels = survey.measured["lesion_pixels"], survey.measured["pixels"]
    named = [(class_name(label), labels == label) for label in survey.classes]
    named += [(part, survey.parts == part) for part in PARTS] + [("all", np.ones(len(labels), bool))]
    rows: Rows = []
    for name, inside in named:
        rest = inside & known
        tumour, total = int(lesion[rest].sum()), int(pixels[rest].sum())
        with_lesion = int((lesion[rest] > 0).sum())
        rows.append([name, int(rest.sum()), with_lesion, tumour, total - tumour, percent(tumour, total, 2)])
    columns = ("class or part", "images", "with lesion", "tumour pixels", "background pixels", "tumour share")
    caption = f"Pixels at original size. n = {int(known.sum()):,} of {len(known):,} images used, whose mask is known."
    classes = len(survey.classes)
    return Table(caption, columns, rows, rules=(classes, classes + len(PARTS)), total=True)


def size_ranges(survey: Survey) -> Table:
    """Width, height and their ratio."""
    height, width = survey.data.sizes.T
    rows: Rows = []
    for name, values, digits in (
        ("width, pixels", width, 0),
        ("height, pixels", height, 0),
        ("width / height", width / height, 2),
    ):
        marks = np.percentile(values, (0, 25, 50, 75, 100))
        rows.append([name, *(number(float(mark), digits) for mark in marks)])
    caption = f"Sizes of images. n = {len(height):,} images used."
    return Table(caption, ("", "least", "quarter", "median", "three quarters", "most"), rows)


def lesion_diameters(survey: Survey) -> Table | None:
    """Sizes of lesions in mm by class; None where the size of no pixel is known."""
    diameters, seen = survey.diameters_mm, survey.seen
    rows: Rows = []
    for label in survey.classes:
        found = diameters[seen & (survey.data.labels == label) & np.isfinite(diameters)]
        if len(found):
            marks = np.percentile(found, (0, 50, 100))
            rows.append([class_name(label), len(found), *(number(float(mark), 1) for mark in marks)])
    if not rows:
        return None
    known = f"{int(np.isfinite(survey.spacing_mm).sum()):,} of {len(diameters):,} images"
    caption = (
        "Lesions in mm: diameter of the circle that is as large as the largest lesion of an image. Train and "
        f"validation images. The size of a pixel is known of {known}."
    )
    return Table(caption, ("class", "lesions", "least", "median", "most"), rows)


def class_medians(medians: dict[tuple[str, int], Median]) -> Table:
    """Medians of the classes with their intervals."""
    rows: Rows = []
    for quantity in QUANTITIES:
        for label, name in enumerate(CLASSES):
            if (quantity.name, label) in medians:
                median = medians[quantity.name, label]
                value = number(median.value, quantity.digits) + quantity.unit
                rows.append([quantity.words, name, median.n, value, _span(median, quantity.digits)])
    caption = "Medians by class, each at original size. Train and validation images; n in the table."
    return Table(caption, ("quantity", "class", "n", "median", "95 % interval"), *_by_first(rows), texts=2)


def class_differences(comparisons: Sequence[Comparison]) -> Table:
    """All pairs of classes, whether they differ or not."""
    rows: Rows = []
    for one in comparisons:
        digits = one.quantity.digits
        bounds = spanned(one.low, one.high, digits, sign=True)
        verdict = "differs" if one.asserted else "not asserted" if one.known else "too few groups"
        rows.append(
            [
                one.quantity.words,
                f"{CLASSES[one.b]} − {CLASSES[one.a]}",
                verdict,
                f"{one.medians[1].n:,} / {one.medians[0].n:,}",
                number(one.difference, digits, sign=True) + (" points" if one.quantity.unit else ""),
                bounds if one.known else "-",
            ]
        )
    caption = "Differences of class medians, asserted where the interval excludes zero. Train and validation images."
    return Table(caption, ("quantity", "classes", "", "n", "difference", "95 % interval"), *_by_first(rows), texts=3)


def origins(survey: Survey) -> Table | None:
    """Sources and sub-groups that a table gives, by class; None where none is given."""
    data = survey.data
    given = {"source": data.sources, **data.subgroups}
    rows: Rows = []
    for name, values in given.items():
        for value in sorted(set(values) - {""}):
            inside = np.array([other == value for other in values])
            rows.append([name, value, *_per_class(survey, inside), int(inside.sum())])
    if not rows:
        return None
    caption = f"Sources and sub-groups by class. n = {len(data.labels):,} images used."
    return Table(caption, ("column", "value", *map(class_name, survey.classes), "all"), rows, texts=2)


def faults(survey: Survey) -> Table | None:
    """Everything that was found wrong with a file, and what was done; None where nothing was."""
    found = survey.data.faults
    if not found:
        return None
    caption = counted(len(found), "fault") + (f", the first {MOST_FAULTS} of them" if len(found) > MOST_FAULTS else "")
    rows: Rows = [[survey.manifest.shown(fault.file), fault.problem, fault.action] for fault in found[:MOST_FAULTS]]
    return Table(
        f"{caption}. Left out: {counted(survey.data.left_out, 'image')}.",
        ("file", "problem", "what was done"),
        rows,
        texts=3,
    )


def _by_first(rows: Rows) -> tuple[Rows, list[int]]:
    """Rows whose first cell is blank where it repeats the one above, and those that begin something new."""
    new = [number for number, row in enumerate(rows) if not number or row[0] != rows[number - 1][0]]
    return [row if number in new else ["", *row[1:]] for number, row in enumerate(rows)], new[1:]


def _per_class(survey: Survey, inside: np.ndarray) -> list[int]:
    return [int((survey.data.labels[inside] == label).sum()) for label in survey.classes]


def _span(median: Median, digits: int) -> str:
    return spanned(median.low, median.high, digits) if np.isfinite(median.low) else "too few groups"
