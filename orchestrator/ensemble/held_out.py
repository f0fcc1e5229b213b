"""Predictions for images that a model was not trained on: all that combiners are fitted on and compared by."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from orchestrator.scoring.packed_masks import PackedMasks


@dataclass(frozen=True)
class OutOfFoldPredictions:
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
