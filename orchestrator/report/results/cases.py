"""Pictures of what a model does best and worst, with the true and the predicted outline."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

from orchestrator.rendering.charts import picture
from orchestrator.rendering.document import Block, Gallery, Heading, Picture, Text
from orchestrator.rendering.numbers import counted, number, percent
from orchestrator.report.results.means import by_image
from orchestrator.report.results.subject import ImageFiles, ModelResults
from trainables.data import CLASSES
from trainables.data.pixels import UnreadableError, fit_mask, read_image, read_mask

#: Box that a picture fills, width and height in pixels.
BOX = (340, 420)
#: RGB and width of an outline; where both run together, the thin one lies upon the wide one.
TRUE, PREDICTED = ((60, 220, 90), 5), ((255, 50, 40), 2)
BOTH = "Outlined: the true lesion, wide and green; the predicted one, thin and red."


class Ranking(NamedTuple):
    """Images in the order in which they are worth a look.

    Attributes:
        name: what they are. rows: int64, first the most so. of: what they are the first of, with how many.
        words: what is said of one. outlines: what is drawn.
    """

    name: str
    rows: np.ndarray
    of: str
    words: Callable[[int], list[str]]
    outlines: str


def best_and_worst(subject: ModelResults, count: int = 6) -> list[Block]:
    """Galleries of images with the best and the worst Dice, of false alarms, and of the most confident errors.

    One image a group, as near-duplicates tell the same twice. Images whose files are not there are passed over.
    """
    found = by_image(subject.tested)
    rankings = [*_by_dice(subject, found["dice"]), *_by_alarm(subject, found["alarm"])]
    rankings += _by_confidence(subject, np.flatnonzero(found["right"] == 0))
    blocks = [block for ranking in rankings for block in _gallery(subject, ranking, count)] if subject.images else []
    if not blocks and rankings:
        reason = f"{subject.title}: no pictures are shown, as the images that were scored cannot be read here."
        return [Text(reason, quiet=True)]
    return blocks


def _by_dice(subject: ModelResults, dice: np.ndarray) -> list[Ranking]:
    """The worst, then the best; of as bad ones those with the larger lesion come first."""
    lesion, counts = np.flatnonzero(np.isfinite(dice)), subject.tested.evidence.scored.counts
    if counts is None or not len(lesion):
        return []
    sizes = counts[lesion, 0] + counts[lesion, 2]
    ordered = lesion[np.lexsort((-sizes, dice[lesion]))]
    half = (len(ordered) + 1) // 2  # no image is among the best and among the worst
    of = f"{counted(len(lesion), 'image')} with a lesion"

    def words(row: int) -> list[str]:
        # An empty mask has a Dice, and an uncertainty, that say less than this.
        empty = not counts[row, :2].any()
        return [_class_of(subject, row), "no lesion found" if empty else f"Dice {number(float(dice[row]), 3)}"]

    return [
        Ranking("Lowest Dice", ordered[:half], of, words, BOTH),
        Ranking("Highest Dice", ordered[half:][::-1], of, words, BOTH),
    ]


def _by_alarm(subject: ModelResults, alarm: np.ndarray) -> list[Ranking]:
    """Images without a lesion in which one is seen, the larger share of the image first."""
    alarms, counts = np.flatnonzero(alarm == 1), subject.tested.evidence.scored.counts
    if counts is None or not len(alarms):
        return []
    shares = counts[:, 1] / np.maximum(subject.tested.pixels, 1)
    ordered = alarms[np.argsort(-shares[alarms], kind="stable")]
    of = f"{len(alarms):,} with a false alarm, of {counted(int(np.isfinite(alarm).sum()), 'image')} without a lesion"

    def words(row: int) -> list[str]:
        share = percent(float(shares[row]), 1) if shares[row] >= 0.0005 else "under 0.1 %"
        return [_class_of(subject, row), f"{share} of the image"]

    return [Ranking("Largest false alarms", ordered, of, words, "Outlined in red: the lesion that is seen.")]


def _by_confidence(subject: ModelResults, wrong: np.ndarray) -> list[Ranking]:
    scored = subject.tested.evidence.scored
    if scored.probabilities is None or not len(wrong):
        return []
    chances = scored.probabilities
    ordered = wrong[np.argsort(-chances[wrong].max(1), kind="stable")]
    of = f"{counted(len(wrong), 'image')} taken for another class, of {int((scored.targets >= 0).sum()):,}"

    def words(row: int) -> list[str]:
        called = int(chances[row].argmax())
        likeliest = f"called {subject.classes[called]}, {number(float(chances[row, called]), 3)}"
        return [f"true: {subject.classes[scored.targets[row]]}", likeliest]

    outlines = BOTH if subject.tested.masks is not None else "Outlined in green: the true lesion."
    return [Ranking("Most confident errors of class", ordered, of, words, outlines)]


def _gallery(subject: ModelResults, ranking: Ranking, count: int) -> list[Block]:
    """The first images of so many groups that can be read; empty where there is none."""
    pictures: list[Picture] = []
    groups: set[int] = set()
    unreadable = 0
    for row in ranking.rows.tolist():
        group = int(subject.tested.evidence.groups[row])
        if group in groups:
            continue
        shown = subject.images.get(subject.tested.evidence.digests[row])
        pixels = None if shown is None else _outlined(shown, _predicted(subject, row))
        if shown is None or pixels is None:
            unreadable += 1
            continue
        groups.add(group)
        pictures.append(picture(pixels, f"{ranking.name}: {shown.name}", (shown.name, *ranking.words(row))))
        if len(pictures) == count:
            break
    if not pictures:
        return []
    passed = f" {counted(unreadable, 'image')} could not be read any more." if unreadable else ""
    caption = f"{len(pictures)} of {ranking.of}; one of a group. {ranking.outlines}{passed}"
    return [Heading(f"{ranking.name}: {subject.title}"), Gallery(caption, pictures)]


def _outlined(shown: ImageFiles, predicted: np.ndarray | None) -> np.ndarray | None:
    """The image with both outlines, uint8 RGB, at its own aspect; None where a file cannot be read."""
    try:
        image = read_image(shown.image)
        masks = [fit_mask(read_mask(file, image.shape)[0], image.shape) for file in shown.masks]
    except (UnreadableError, OSError):
        return None
    scale = min(BOX[0] / image.shape[1], BOX[1] / image.shape[0])
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    tile = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    tile = cv2.cvtColor(tile, cv2.COLOR_GRAY2RGB)
    if masks:
        _draw(tile, np.logical_or.reduce(masks), TRUE)
    if predicted is not None and predicted.size:
        _draw(tile, predicted, PREDICTED)
    return tile


def _draw(tile: np.ndarray, mask: np.ndarray, line: tuple[tuple[int, int, int], int]) -> None:
    size = tile.shape[1], tile.shape[0]
    scaled = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    outlines, _ = cv2.findContours(scaled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(tile, outlines, -1, line[0], line[1], cv2.LINE_AA)


def _predicted(subject: ModelResults, row: int) -> np.ndarray | None:
    return None if subject.tested.masks is None else subject.tested.masks[row]


def _class_of(subject: ModelResults, row: int) -> str:
    label = int(subject.tested.evidence.labels[row])
    return f"true: {CLASSES[label]}" if label >= 0 else "class not given"
