"""What is measured on every image at its original size, and which images are near-duplicates of each other."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from orchestrator.inference.lesion_shape import FEATURES, largest_component, lesion_shape
from orchestrator.scoring.packed_masks import read
from trainables.data import CLASSES, UNKNOWN, Manifest, Prepared, Record
from trainables.data.cache import ExaminedIndex
from trainables.data.duplicates import among, connected
from trainables.data.links import near_duplicates
from trainables.data.manifest import TEST
from trainables.data.pixel_budget import within_budget

PARTS = ("train", "validation", "test")
#: What an image is called whose class is not given.
NO_CLASS = "no class given"

#: What is measured on an image, in the order of `measure`; NaN where it does not apply.
#: brightness, contrast: mean and SD of the grey levels, 0 to 255. pixels: of the image. lesion_pixels: of all masks
#: together. masks: those that hold a lesion. x, y: centre of the largest lesion, 0 to 1 from left and top. largest: its
#: pixels. The others are of the largest lesion and explained in `orchestrator.inference.lesion_shape`.
MEASURED = (
    "brightness",
    "contrast",
    "pixels",
    "lesion_pixels",
    "masks",
    "x",
    "y",
    "aspect",
    "ring_contrast",
    "shadow",
    "largest",
)


@dataclass(frozen=True)
class ClusterMember:
    """An image of a near-duplicate cluster.

    Attributes:
        record: its files and its class.
        part: one of PARTS, or "left out".
    """

    record: Record
    part: str


@dataclass(frozen=True)
class Survey:
    """A dataset as the page looks at it. N images are used.

    Attributes:
        data: the prepared data.
        manifest: what was read.
        parts: one of PARTS for each image, str [N]; validation is fold 0.
        measured: float64 [N] for each of MEASURED.
        clusters: near-duplicate clusters of at least two images, whether used or not, those first that disagree on
            their class, then the larger ones.
        examined: number of images that could be decoded.
    """

    data: Prepared
    manifest: Manifest
    parts: np.ndarray
    measured: dict[str, np.ndarray]
    clusters: tuple[tuple[ClusterMember, ...], ...]
    examined: int

    @property
    def spacing_mm(self) -> np.ndarray:
        """Millimetres a pixel, float64 [N]; NaN where they are not known."""
        known = {str(record.image): record.spacing_mm for record in self.manifest.records}
        return np.array([known.get(file) or np.nan for file in self.data.files])

    @property
    def diameters_mm(self) -> np.ndarray:
        """Of the circle as large as the largest lesion, mm, float64 [N]; NaN where it has none, or no known size."""
        return np.asarray(2 * np.sqrt(self.measured["largest"] / np.pi) * self.spacing_mm)

    @property
    def seen(self) -> np.ndarray:
        """Images that classes may be compared on, bool [N]: those of the test set stay unseen."""
        return np.asarray(self.parts != "test")

    @property
    def classes(self) -> list[int]:
        """Labels that occur, in the order of CLASSES, UNKNOWN last."""
        return [label for label in (*range(len(CLASSES)), UNKNOWN) if (self.data.labels == label).any()]


def survey(manifest: Manifest, data: Prepared, cache: Path, distance: int, progress: Callable[[int], None]) -> Survey:
    """Decode and measure every image that is used.

    Args:
        cache: where the outcomes of examining the images are, which `prepare` wrote.
        distance: largest Hamming distance, in bits of 256, between near-duplicates.
        progress: called with the number of images measured so far.

    Raises:
        UserError: a file cannot be read any more.
    """
    rows = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for row in pool.map(measure, data.files, data.mask_files):
            rows.append(row)
            progress(len(rows))
    table = np.array(rows, np.float64).reshape(len(rows), len(MEASURED))
    measured = {name: table[:, column].copy() for column, name in enumerate(MEASURED)}
    measured["lesion_pixels"][~data.has_mask] = np.nan
    measured["masks"][~data.has_mask] = np.nan
    parts = np.where(data.split == TEST, "test", np.where(data.split == 0, "validation", "train"))
    clusters, examined = _clusters(manifest, dict(zip(data.files, parts.tolist(), strict=True)), cache, distance)
    return Survey(data, manifest, parts, measured, clusters, examined)


@within_budget()
def measure(image_file: str, mask_files: Sequence[str]) -> list[float]:
    """`MEASURED` of one image.

    Raises:
        UserError: a file cannot be read.
    """
    image, masks = read(image_file, mask_files)
    lesion = np.zeros(image.shape, bool)
    for mask in masks:
        lesion |= mask
    shape = dict(zip(FEATURES, lesion_shape(lesion, image), strict=True))
    x = y = largest = np.nan
    if masks:
        component = largest_component(lesion)[0]
        largest = float(np.count_nonzero(component))
        moments = cv2.moments(component, binaryImage=True)
        x = (moments["m10"] / moments["m00"] + 0.5) / image.shape[1]
        y = (moments["m01"] / moments["m00"] + 0.5) / image.shape[0]
    whole = [image.mean(), image.std(), image.size, np.count_nonzero(lesion), len(masks)]
    return [*map(float, whole), x, y, shape["aspect"], shape["contrast"], shape["shadow"], largest]


def class_name(label: int) -> str:
    """A label's class, also where none is given."""
    return NO_CLASS if label == UNKNOWN else CLASSES[label]


def disagrees(members: Sequence[ClusterMember]) -> bool:
    """Whether a cluster's images are of several classes."""
    return len({member.record.label for member in members} - {UNKNOWN}) > 1


def _clusters(
    manifest: Manifest, parts: dict[str, str], cache: Path, distance: int
) -> tuple[tuple[tuple[ClusterMember, ...], ...], int]:
    index = ExaminedIndex(cache)
    # What could not be read in this run was not remembered.
    keys = [(record, index.key(record)) for record in manifest.records]
    outcomes = [(record, index.get(key, record)) for record, key in keys if key in index]
    links = near_duplicates([outcome for _, outcome in outcomes], distance, cache)
    usable = [row for row, (_, outcome) in enumerate(outcomes) if outcome.usable]
    numbers = connected(among(links, usable), len(usable)).tolist()
    found: dict[int, list[ClusterMember]] = {number: [] for number, size in Counter(numbers).items() if size > 1}
    for number, row in zip(numbers, usable, strict=True):
        if number in found:
            record = outcomes[row][0]
            found[number].append(ClusterMember(record, parts.get(str(record.image), "left out")))
    ordered = sorted(found.values(), key=lambda members: (not disagrees(members), -len(members)))
    return tuple(map(tuple, ordered)), len(usable)
