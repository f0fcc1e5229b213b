"""Operating points of malignant against the rest: thresholds of held-out predictions, and what they do on others."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

import numpy as np
from pydantic import BaseModel

from orchestrator.scoring.resampling import Estimate
from orchestrator.scoring.values import ScoredPredictions
from trainables.metrics.cls import SENSITIVITY, SPECIFICITY, apply_threshold, operating_point, wilson_interval


class OperatingPoint(BaseModel, frozen=True):
    """A malignant probability from the threshold upwards kept this rate on held-out predictions."""

    kept: Literal["specificity", "sensitivity"]
    rate: float
    threshold: float


class AppliedPoint(OperatingPoint, frozen=True):
    """What it does on n images of known class: rates with Wilson intervals, None where no image is of that kind."""

    sensitivity: Estimate | None
    specificity: Estimate | None
    n: int

    @property
    def here(self) -> Estimate | None:
        """The rate that it was to keep, on these images."""
        return self.sensitivity if self.kept == "sensitivity" else self.specificity


def operating_thresholds(held_out: ScoredPredictions) -> list[OperatingPoint]:
    """Thresholds of the malignant probability that keep a specificity of 90 %, and a sensitivity of 95 %.

    Args:
        held_out: predictions for images that neither networks nor combiner were fitted on.

    Returns:
        One for each of the two; none without malignant and other images.
    """
    chances, malignant = malignant_probabilities(held_out)
    if malignant.all() or not malignant.any():
        return []
    cut_at = partial(operating_point, chances, malignant)
    return [
        OperatingPoint(kept="specificity", rate=SPECIFICITY, threshold=cut_at(specificity=SPECIFICITY)),
        OperatingPoint(kept="sensitivity", rate=SENSITIVITY, threshold=cut_at(sensitivity=SENSITIVITY)),
    ]


def apply_thresholds(points: Sequence[OperatingPoint], scored: ScoredPredictions) -> tuple[AppliedPoint, ...]:
    """Each point with what it does here.

    Args:
        points: of `operating_thresholds`, fitted elsewhere. scored: of seg only with no points.
    """
    chances, malignant = malignant_probabilities(scored)
    applied = []
    for point in points:
        found = apply_threshold(chances, malignant, point.threshold)
        applied.append(
            AppliedPoint(
                kept=point.kept,
                rate=point.rate,
                threshold=point.threshold,
                sensitivity=_share(found.true_positives, found.positives),
                specificity=_share(found.true_negatives, found.negatives),
                n=len(chances),
            )
        )
    return tuple(applied)


def malignant_probabilities(scored: ScoredPredictions) -> tuple[np.ndarray, np.ndarray]:
    """Of the images of known class: the probability of malignant, float64, and whether it is, bool."""
    if scored.probabilities is None:
        return np.empty(0), np.empty(0, bool)
    known = scored.targets >= 0
    return scored.probabilities[known, -1], scored.targets[known] == scored.probabilities.shape[1] - 1


def _share(part: int, whole: int) -> Estimate | None:
    return Estimate(value=part / whole, interval=wilson_interval(part, whole)) if whole else None
