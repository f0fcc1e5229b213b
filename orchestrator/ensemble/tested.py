"""Predictions of test images as they are kept: all that pages are drawn from, so that nothing is scored again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from orchestrator.ensemble.heldout import PackedMasks
from orchestrator.ensemble.measures import Images, Measured
from orchestrator.ensemble.registry import Evidence
from orchestrator.files import write_arrays


@dataclass(frozen=True)
class Tested:
    """What a model said of N images, beside what is true of them.

    Attributes:
        evidence: class probabilities, pixel counts, truth, and which images.
        pixels: of each image of known mask at original size, int64 [N], else 0.
        distances: `hd95` in pixels of images with a known lesion, float64 [N], else NaN.
        uncertainty: 0..1, float64 [N].
        masks: predicted, at original size; of no pixels where the true mask is not known. None for cls.
    """

    evidence: Evidence
    pixels: np.ndarray
    distances: np.ndarray
    uncertainty: np.ndarray
    masks: PackedMasks | None

    def __len__(self) -> int:
        return len(self.pixels)

    @classmethod
    def of(cls, measured: Measured, images: Images, digests: Sequence[str], uncertainty: np.ndarray) -> Self:
        """What `measure` found of these images."""
        evidence = Evidence(measured.scored, tuple(digests), images.groups, images.labels)
        return cls(evidence, measured.pixels, measured.distances, uncertainty, measured.masks)

    def save(self, file: Path) -> None:
        """Write to a file of plain arrays, which `Evidence.load` reads, too."""
        masks = {} if self.masks is None else self.masks.arrays()
        own = {name: getattr(self, name) for name in ("pixels", "distances", "uncertainty")}
        write_arrays(file, self.evidence.arrays() | own | {f"mask_{name}": array for name, array in masks.items()})

    @classmethod
    def load(cls, file: Path) -> Self:
        """What `save` wrote.

        Raises:
            OSError, ValueError: it cannot be read. KeyError: it is an older file, of less.
        """
        with np.load(file) as found:
            masks = None
            if "mask_bits" in found:
                masks = PackedMasks.of_arrays(found["mask_bits"], found["mask_sizes"])
            return cls(Evidence.load(file), found["pixels"], found["distances"], found["uncertainty"], masks)
