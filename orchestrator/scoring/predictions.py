"""Predictions of test images as they are kept: all that pages are drawn from, so that nothing is scored again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from orchestrator.scoring.measure import ImageMetrics, Images
from orchestrator.scoring.packed_masks import PackedMasks
from orchestrator.scoring.resampling import paired_interval
from orchestrator.scoring.values import ScoredPredictions
from orchestrator.storage.arrays import read_arrays
from orchestrator.storage.atomic import write_arrays
from trainables.data.manifest import CLASSES
from trainables.stored import DamagedError

HELD_OUT, TEST = "held-out.npz", "test.npz"
#: What loading a file raises that is not there, damaged, or of an older version.
UNREADABLE = (OSError, DamagedError)
#: Of what kind each stored array is (`numpy.dtype.kind`), and its shape after the images.
STORED: dict[str, tuple[str, tuple[int, ...] | None]] = {
    **{"groups": ("i", ()), "labels": ("i", ()), "digests": ("U", ()), "targets": ("i", ()), "has_mask": ("b", ())},
    **{"counts": ("i", (3,)), "pixels": ("i", ()), "distances": ("f", ()), "uncertainty": ("f", ())},
    **{"probabilities": ("f", None), "mask_sizes": ("i", (2,))},
}


@dataclass(frozen=True)
class TestPredictions:
    """What a model said of N images, beside what is true of them.

    Attributes:
        evidence: class probabilities, pixel counts, truth, and which images.
        pixels: of each image of known mask at original size, int64 [N], else 0.
        distances: `hd95` in pixels of images with a known lesion, float64 [N], else NaN.
        uncertainty: 0..1, float64 [N].
        masks: predicted, at original size; of no pixels where the true mask is not known. None for cls.
    """

    evidence: StoredPredictions
    pixels: np.ndarray
    distances: np.ndarray
    uncertainty: np.ndarray
    masks: PackedMasks | None

    def __len__(self) -> int:
        return len(self.pixels)

    @classmethod
    def of(cls, measured: ImageMetrics, images: Images, digests: Sequence[str], uncertainty: np.ndarray) -> Self:
        """What `measure` found of these images."""
        evidence = StoredPredictions(measured.scored, tuple(digests), images.groups, images.labels)
        return cls(evidence, measured.pixels, measured.distances, uncertainty, measured.masks)

    def save(self, file: Path) -> None:
        """Write to a file of plain arrays, which `StoredPredictions.load` reads, too."""
        masks = {} if self.masks is None else self.masks.arrays()
        own = {name: getattr(self, name) for name in ("pixels", "distances", "uncertainty")}
        write_arrays(file, self.evidence.arrays() | own | {f"mask_{name}": array for name, array in masks.items()})

    @classmethod
    def load(cls, file: Path) -> Self:
        """What `save` wrote.

        Raises:
            OSError: it cannot be read. DamagedError: it holds something else, or is an older file, of less.
        """
        found = _read(file, ("pixels", "distances", "uncertainty"))
        masks = None
        if "mask_bits" in found:
            try:
                masks = PackedMasks.of_arrays(found["mask_bits"], found["mask_sizes"])
            except (KeyError, ValueError) as error:
                raise DamagedError(f"{file}: mask_sizes: {error}") from None
        evidence = StoredPredictions.of_arrays(found)
        return cls(evidence, found["pixels"], found["distances"], found["uncertainty"], masks)


@dataclass(frozen=True)
class StoredPredictions:
    """Stored predictions: those that combiners were compared by, or of the test images.

    Attributes:
        scored: N predictions. digests: of the N images. groups, labels: int64 [N].
    """

    scored: ScoredPredictions
    digests: tuple[str, ...]
    groups: np.ndarray
    labels: np.ndarray

    def arrays(self) -> dict[str, np.ndarray]:
        """All of it as plain arrays."""
        scored = {name: array for name, array in vars(self.scored).items() if array is not None}
        return {"groups": self.groups, "labels": self.labels, "digests": np.array(self.digests), **scored}

    @classmethod
    def load(cls, file: Path) -> StoredPredictions:
        """From a file of `arrays`, whatever else is in it.

        Raises:
            OSError: it cannot be read. DamagedError: it holds something else.
        """
        return cls.of_arrays(_read(file))

    @classmethod
    def of_arrays(cls, found: Mapping[str, np.ndarray]) -> StoredPredictions:
        """What `arrays` gave, whatever else is in it."""
        scored = ScoredPredictions(found.get("probabilities"), found["targets"], found.get("counts"), found["has_mask"])
        return cls(scored, tuple(found["digests"].tolist()), found["groups"], found["labels"])

    def difference(self, other: StoredPredictions, task: str) -> tuple[float, float, float] | None:
        """By how much this is better on the images of both: (difference, low, high), 95 %; None without such images."""
        place = {digest: row for row, digest in enumerate(other.digests)}
        mine = np.array([row for row, digest in enumerate(self.digests) if digest in place], np.int64)
        if not len(mine):
            return None
        its = np.array([place[self.digests[row]] for row in mine])
        a, b = self.scored.take(mine), other.scored.take(its)
        return paired_interval(task, a, b, self.groups[mine], self.labels[mine])


def _read(file: Path, more: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """The arrays of a file, those of `more` among them, of the same images and within their bounds."""
    found = read_arrays(file)
    if lacks := {"groups", "labels", "digests", "targets", "has_mask", *more} - set(found):
        raise DamagedError(f"{file}: {min(lacks)}: is missing")
    for name, (kind, inner) in STORED.items():
        array = found.get(name)
        if array is None:
            continue
        shape = (*found["labels"].shape[:1], *((array.shape[1:2] or (0,)) if inner is None else inner))
        if array.dtype.kind != kind or array.shape != shape:
            raise DamagedError(f"{file}: {name}: not {kind}{list(shape)}, but {array.dtype.kind}{list(array.shape)}")
    known = found["probabilities"].shape[1] if "probabilities" in found else len(CLASSES)
    for name, least, end in (("labels", -1, len(CLASSES)), ("targets", -1, known), ("counts", 0, 1 << 40)):
        if name in found and ((found[name] < least) | (found[name] >= end)).any():
            raise DamagedError(f"{file}: {name}: not all {least} to {end - 1}")
    return found
