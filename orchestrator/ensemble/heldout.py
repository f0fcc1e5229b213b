"""Predictions for images that a model was not trained on: all that combiners are fitted on and compared by."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np


class PackedMasks:
    """Masks at original size, a bit a pixel.

    Args:
        masks: N of bool [H,W], each of its own size.
    """

    def __init__(self, masks: list[np.ndarray]) -> None:
        self._sizes = [mask.shape for mask in masks]
        self._bits = [np.packbits(mask) for mask in masks]

    def __len__(self) -> int:
        return len(self._bits)

    def __getitem__(self, row: int) -> np.ndarray:
        """Image `row`'s mask, bool [H,W]."""
        height, width = self._sizes[row]
        return np.unpackbits(self._bits[row], count=height * width).reshape(height, width).view(bool)

    def arrays(self) -> dict[str, np.ndarray]:
        """`bits`, uint8: of one mask after the other, each from a byte's first bit. `sizes`: int64 [N,2]."""
        sizes = np.array(self._sizes, np.int64).reshape(-1, 2)
        return {"bits": np.concatenate([np.empty(0, np.uint8), *self._bits]), "sizes": sizes}

    @classmethod
    def of_arrays(cls, bits: np.ndarray, sizes: np.ndarray) -> PackedMasks:
        """What `arrays` gave."""
        found = object.__new__(cls)
        found._sizes = [(height, width) for height, width in sizes.tolist()]
        found._bits = np.split(bits, np.cumsum(-(-sizes.prod(1) // 8))[:-1]) if len(sizes) else []
        return found

    def take(self, rows: np.ndarray) -> PackedMasks:
        """The masks of these rows."""
        taken = object.__new__(PackedMasks)
        taken._sizes, taken._bits = [self._sizes[i] for i in rows], [self._bits[i] for i in rows]
        return taken


@dataclass(frozen=True)
class HeldOut:
    """What M members say of N images that they were not trained on, and what is true of them.

    Members are the candidates, best first, then any that boosting trained. S is the largest prepared size of a member;
    smaller mask planes are enlarged to it (bilinear), in the geometry of prepared data.

    Attributes:
        names: the M members, as a person tells them apart.
        candidates: the first so many members are candidates.
        class_logits: float32 [M,N,K], K the task's classes; None for seg.
        planes: mask logits, float16 [M,N,S,S]; None for cls.
        targets: int64 [N], 0..K-1 as the class logits count, -1 unknown; all -1 for seg.
        has_mask: bool [N], whether the mask is known.
        truth: float, 0 or 1, uint8 [N,S,S]: merged masks at the planes' size; None for cls.
        originals: the merged masks at original size; None for cls.
        keep_aspect: whether planes are letterboxed.
        shape: lesion-shape features, float64 [N,F], NaN where there is none; None without segmentation candidates.
        labels: int64 [N], index into `CLASSES`, -1 unknown: strata.
        groups: int64 [N]. folds: int64 [N], the fold that each row was held out of.
        compared: bool [N], the rows that combiners are compared on.
        digests: N hexadecimal image digests.
        rebalanced: whether training re-balanced the classes of any member, so that a class bias is fitted.
        optimistic: the rows are those on which epoch and configuration were chosen.
    """

    names: tuple[str, ...]
    candidates: int
    class_logits: np.ndarray | None
    planes: np.ndarray | None
    targets: np.ndarray
    has_mask: np.ndarray
    truth: np.ndarray | None
    originals: PackedMasks | None
    keep_aspect: bool
    shape: np.ndarray | None
    labels: np.ndarray
    groups: np.ndarray
    folds: np.ndarray
    compared: np.ndarray
    digests: tuple[str, ...]
    rebalanced: bool = False
    optimistic: bool = False

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: np.ndarray) -> Self:
        """These rows (int64) alone."""
        return replace(
            self,
            class_logits=None if self.class_logits is None else self.class_logits[:, rows],
            planes=None if self.planes is None else self.planes[:, rows],
            truth=None if self.truth is None else self.truth[rows],
            originals=None if self.originals is None else self.originals.take(rows),
            shape=None if self.shape is None else self.shape[rows],
            digests=tuple(self.digests[i] for i in rows),
            **{
                name: getattr(self, name)[rows]
                for name in ("targets", "has_mask", "labels", "groups", "folds", "compared")
            },
        )
