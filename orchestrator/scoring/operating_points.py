"""Operating points of malignant against the rest: thresholds of held-out predictions, and what they do on others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from orchestrator.scoring.metrics import ScoredPredictions
from trainables.metrics.cls import SENSITIVITY, SPECIFICITY, apply_threshold, operating_point, wilson_interval


def operating_thresholds(held_out: ScoredPredictions) -> list[dict[str, Any]]:
    """Thresholds of the malignant probability that keep a specificity of 90 %, and a sensitivity of 95 %.

    Args:
        held_out: predictions for images that neither networks nor combiner were fitted on.

    Returns:
        `kept` ("specificity" or "sensitivity"), `rate`, `threshold` of each; none without malignant and other images.
    """
    chances, malignant = _malignant(held_out)
    if malignant.all() or not malignant.any():
        return []
    rates = {"specificity": SPECIFICITY, "sensitivity": SENSITIVITY}
    return [
        {"kept": kept, "rate": rate, "threshold": operating_point(chances, malignant, **{kept: rate})}
        for kept, rate in rates.items()
    ]


def apply_thresholds(points: Sequence[dict[str, Any]], scored: ScoredPredictions) -> list[dict[str, Any]]:
    """Each point with what it does here: `sensitivity` and `specificity`, each a value with its Wilson interval, or
    None where no image here is of that kind, and `n`, the images of known class.

    Args:
        points: of `operating_thresholds`, fitted elsewhere. scored: of seg only with no points.
    """
    chances, malignant = _malignant(scored)
    applied = []
    for point in points:
        found = apply_threshold(chances, malignant, point["threshold"])
        rates = {
            "sensitivity": _share(found.true_positives, found.positives),
            "specificity": _share(found.true_negatives, found.negatives),
        }
        applied.append({**point, **rates, "n": len(chances)})
    return applied


def _malignant(scored: ScoredPredictions) -> tuple[np.ndarray, np.ndarray]:
    """Of the images of known class: the probability of malignant, float64, and whether it is, bool."""
    if scored.probabilities is None:
        return np.empty(0), np.empty(0, bool)
    known = scored.targets >= 0
    return scored.probabilities[known, -1], scored.targets[known] == scored.probabilities.shape[1] - 1


def _share(part: int, whole: int) -> dict[str, Any] | None:
    return {"value": part / whole, "interval": list(wilson_interval(part, whole))} if whole else None
