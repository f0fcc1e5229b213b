"""Who an ensemble is made of: a candidate, or what boosting trained, with its models of all folds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from orchestrator.inference.combination import Combination
from trainables.data import Prepared


@dataclass(frozen=True)
class Member:
    """A candidate, or what boosting trained: a model for each fold, which never saw it.

    Attributes:
        name: as a person tells it apart.
        checkpoints: folder of each fold's model. data: prepared data at its size.
        rebalanced: whether training re-balanced the classes.
        encoder_weights: what its encoder started from, as `Source.words` has it; "" where nothing says so.
    """

    name: str
    checkpoints: Mapping[int, Path]
    data: Prepared
    rebalanced: bool
    encoder_weights: str = ""

    @property
    def size(self) -> int:
        """Side of the images that it takes, pixels."""
        return int(self.data.images.shape[-1])


@dataclass(frozen=True)
class Segmenter:
    """The best segmentation candidate of the same data, with a model for each fold; `combination` is of it alone."""

    member: Member
    combination: Combination


@dataclass(frozen=True)
class PredictionRequest:
    """What a checkpoint says of these rows (int64) of prepared data."""

    checkpoint: Path
    data: Prepared
    rows: np.ndarray
    tta: bool = False
