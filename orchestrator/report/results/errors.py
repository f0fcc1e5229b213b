"""Where models go wrong: by size of lesion, by class, and by sub-groups that the data name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from orchestrator.rendering.document import Table
from orchestrator.rendering.numbers import number
from orchestrator.report.results.means import OF, WORDS, Resampled, by_image
from orchestrator.report.results.subject import ModelResults
from orchestrator.scoring.metrics import lesions
from orchestrator.scoring.resampling import FEWEST_GROUPS, INTERVAL
from trainables.data import CLASSES

THIRDS = ("smallest third", "middle third", "largest third")
#: Values of a column that have a row of their own; the others are taken together.
MOST_VALUES = 12
BLANK, OTHERS = "not given", "all other values"
METHOD = (
    f"Before each figure the n that it rests on: {OF['dice']} for Dice, {OF['right']} for accuracy, {OF['alarm']} for "
    f"false alarms. In brackets 95 % intervals over {INTERVAL:,} resamples of groups within classes; none where there "
    f"are fewer than {FEWEST_GROUPS} groups, or where all images came out alike."
)
#: What two models know an image by, as `ModelResults.keys`.
Key = tuple[str, int]
#: Name of the part that each image of a model is in, object [N]; "" for none.
Parts = Callable[[ModelResults], np.ndarray]


def by_size(subjects: Sequence[ModelResults]) -> list[Table]:
    """By thirds of the lesion's share of the image; none where fewer than three images have a known lesion."""
    shares = lesion_shares(subjects)
    if len(shares) < len(THIRDS):
        return []
    edges = size_edges(shares)
    low, high = (number(100 * edge, 1) for edge in edges)
    spans = (f"to {low} %", f"over {low}, to {high} %", f"over {high} %")
    names = [f"{third} ({span})" for third, span in zip(THIRDS, spans, strict=True)]
    caption = (
        f"By size of the lesion, as a share of the image. n = {len(shares):,} images with a known lesion. {METHOD}"
    )

    def parts(subject: ModelResults) -> np.ndarray:
        thirds = size_thirds(subject, shares, edges)
        return np.array([names[third] if third >= 0 else "" for third in thirds.tolist()], object)

    return _table("lesion", names, parts, subjects, caption)


def by_class(subjects: Sequence[ModelResults]) -> list[Table]:
    """By true class, also for models that do not predict it."""
    caption = f"By true class; accuracy within a class is its recall. n = {_classified(subjects):,} images. {METHOD}"

    def parts(subject: ModelResults) -> np.ndarray:
        labels = subject.tested.evidence.labels.tolist()
        return np.array([CLASSES[label] if label >= 0 else "" for label in labels], object)

    return _table("class", CLASSES, parts, subjects, caption)


def by_subgroup(subjects: Sequence[ModelResults]) -> list[Table]:
    """By the values of each column that the data name, a table a column; the commonest values, then the others."""
    tables = []
    for column in columns(subjects):
        given = column_values(subjects, column)
        named = value_names(given)
        caption = f"By {column}, as the data give it. n = {len(given):,} images. {METHOD}"
        parts = partial(subgroup, column=column, named=named)
        tables += _table(column, list(dict.fromkeys(named.values())), parts, subjects, caption)
    return tables


def lesion_shares(subjects: Sequence[ModelResults]) -> dict[Key, float]:
    """The lesion's share of the image, of images of which some model's predictions know it."""
    found = {}
    for subject in subjects:
        tested = subject.tested
        counts = tested.evidence.scored.counts
        if counts is not None:
            keys = subject.keys
            for row in np.flatnonzero(lesions(tested.evidence.scored)).tolist():
                found[keys[row]] = float(counts[row, [0, 2]].sum() / tested.pixels[row])
    return found


def size_edges(shares: Mapping[Key, float]) -> tuple[float, float]:
    """The shares between the thirds."""
    low, high = np.quantile(list(shares.values()), (1 / 3, 2 / 3))
    return float(low), float(high)


def size_thirds(subject: ModelResults, shares: Mapping[Key, float], edges: tuple[float, float]) -> np.ndarray:
    """The third of each image, int64 [N], 0 the smallest; -1 where its lesion is not known, or there is none."""
    own = np.array([shares.get(key, np.nan) for key in subject.keys])
    return np.where(np.isfinite(own), np.searchsorted(edges, own, side="left"), -1)


def columns(subjects: Sequence[ModelResults]) -> list[str]:
    """The columns by which there are sub-groups: of at least two values among these images."""
    named = dict.fromkeys(name for subject in subjects for shown in _shown(subject) if shown for name in shown)
    return [name for name in named if len(set(column_values(subjects, name).values())) > 1]


def column_values(subjects: Sequence[ModelResults], column: str) -> dict[Key, str]:
    """A column's value by image; "" where a cell is empty."""
    return {
        key: shown[column]
        for subject in subjects
        for key, shown in zip(subject.keys, _shown(subject), strict=True)
        if column in shown
    }


def value_names(given: Mapping[Any, str]) -> dict[str, str]:
    """What a row is called that holds a value, in the order of the rows.

    Of more than MOST_VALUES values the commonest alone have a row, or if they are numbers, each third of the images.
    """
    counts = Counter(given.values())
    blank = {"": BLANK} if counts.pop("", 0) else {}
    if len(counts) > MOST_VALUES and (measured := _numbers(counts)):
        numbers = [measured[value] for value in given.values() if value]
        edges = np.quantile(numbers, (1 / 3, 2 / 3), method="inverted_cdf")
        low, high = (f"{edge:g}" for edge in edges)
        rows = (f"to {low}", f"over {low}, to {high}", f"over {high}")
        return {
            value: rows[np.searchsorted(edges, measured[value])] for value in sorted(counts, key=measured.__getitem__)
        } | blank
    common = [value for value, _ in counts.most_common(MOST_VALUES)]
    return {value: value for value in common} | {value: OTHERS for value in counts if value not in common} | blank


def compared(named: Mapping[str, str]) -> list[str]:
    """The rows that are held against the rest, of `value_names`: blanks, and values taken together, are no kind."""
    return [name for name in dict.fromkeys(named.values()) if name not in (BLANK, OTHERS)]


def _numbers(values: Iterable[str]) -> dict[str, float] | None:
    """The values as numbers; None where any is none."""
    try:
        found = {value: float(value) for value in values}
    except ValueError:
        return None
    return found if np.isfinite(list(found.values())).all() else None


def subgroup(subject: ModelResults, column: str, named: Mapping[str, str]) -> np.ndarray:
    """The name of each image's sub-group, object [N]; "" where the image is not there any more."""
    return np.array([named[shown[column]] if column in shown else "" for shown in _shown(subject)], object)


def _shown(subject: ModelResults) -> list[Mapping[str, str]]:
    images = subject.images
    return [images[digest].columns if digest in images else {} for digest in subject.tested.evidence.digests]


def _classified(subjects: Sequence[ModelResults]) -> int:
    """Images of known class."""
    return len(
        {
            key
            for subject in subjects
            for key, label in zip(subject.keys, subject.tested.evidence.labels.tolist(), strict=True)
            if label >= 0
        }
    )


def _table(
    first: str, names: Sequence[str], parts: Parts, subjects: Sequence[ModelResults], caption: str
) -> list[Table]:
    """A row a part and model, with each measure and the number of images that it is a mean of; none without rows."""
    found: dict[str, list[tuple[str, list[str], list[int]]]] = {name: [] for name in names}
    for subject in subjects:
        values, drawn, inside = by_image(subject.tested), Resampled.of(subject.tested), parts(subject)
        for name in names:
            means = [drawn.mean(values[measure], inside == name) for measure in WORDS]
            if any(mean.n for mean in means):
                found[name].append((subject.title, [mean.words() for mean in means], [mean.n for mean in means]))
    seen = [any(row[2][i] for rows in found.values() for row in rows) for i in range(len(WORDS))]
    kept = [i for i, there in enumerate(seen) if there]
    rows: list[list[str | int]] = []
    rules = []
    for name, models in found.items():
        if models and rows:
            rules.append(len(rows))
        for number_, (title, words, counts) in enumerate(models):
            cells = [cell for i in kept for cell in (counts[i] or "-", words[i])]
            rows.append(["" if number_ else name, title, *cells])
    if not rows:
        return []
    heads = [head for i in kept for head in ("n", list(WORDS.values())[i])]
    return [Table(caption, (first, "model", *heads), rows, rules, texts=2)]
