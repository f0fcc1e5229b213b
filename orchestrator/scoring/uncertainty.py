"""Whether a model's uncertainty is of use: whether it is larger where the model is wrong."""

from __future__ import annotations

import math

import numpy as np
from pydantic import BaseModel

from orchestrator.scoring import weighted
from orchestrator.scoring.resampling import finite, interval
from orchestrator.scoring.values import ScoredPredictions, binary_auroc, dice_by_image

#: A mask of a lower Dice is an error.
LEAST_DICE = 0.5
#: With fewer errors, or fewer images that are right, nothing is said of how well they are told apart.
LEAST_ERRORS = 5
#: Percentages of the images, the most certain first, at which the risk-coverage curve is given.
COVERAGES = range(10, 101, 10)


class Usefulness(BaseModel, frozen=True):
    """How well uncertainty tells errors from the rest.

    Attributes:
        images, errors: counts.
        auroc_for_errors: chance that an error is less certain than an image that is right, with `interval` (95 %); None
            unless there are both.
        risk_coverage: (coverage, error rate among the most certain images of that share).
        risk_coverage_area: the mean of that rate over all coverages (Geifman et al., ICLR 2019); an uncertainty that
            says nothing has the error rate for area.
        useful: the interval lies above .5, and there are at least 5 errors and 5 images that are right.
    """

    images: int
    errors: int
    auroc_for_errors: float | None
    interval: tuple[float, float] | None
    risk_coverage: tuple[tuple[float, float], ...]
    risk_coverage_area: float | None
    useful: bool


def errors(scored: ScoredPredictions) -> tuple[np.ndarray, np.ndarray]:
    """Which images are predicted wrongly, bool [N], and of which that is known, bool [N].

    The likeliest class is not the true one; for seg, `dice_all` is below .5.
    """
    if scored.probabilities is not None:
        return scored.probabilities.argmax(1) != scored.targets, scored.targets >= 0
    assert scored.counts is not None
    return dice_by_image(scored.counts) < LEAST_DICE, scored.has_mask


def usefulness(uncertainty: np.ndarray, scored: ScoredPredictions, counts: np.ndarray) -> Usefulness:
    """How well uncertainty tells errors from the rest.

    Args:
        uncertainty: float [N], of any scale. scored: of these N images. counts: how often each is in
            each resample, float64 [B,N].
    """
    wrong, known = errors(scored)
    area = binary_auroc(uncertainty[known], wrong[known])
    low, high = interval(weighted.binary_auroc(uncertainty[known], wrong[known], counts[:, known]))
    risks = risk_by_coverage(uncertainty[known], wrong[known])
    return Usefulness(
        images=int(known.sum()),
        errors=int(wrong[known].sum()),
        auroc_for_errors=None if math.isnan(area) else area,
        interval=None if math.isnan(area) else finite((low, high)),
        risk_coverage=tuple((share / 100, _at(share, risks)) for share in COVERAGES if len(risks)),
        risk_coverage_area=float(risks.mean()) if len(risks) else None,
        useful=bool(low > 0.5 and LEAST_ERRORS <= wrong[known].sum() <= known.sum() - LEAST_ERRORS),
    )


def risk_by_coverage(uncertainty: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Error rate among the k most certain images, float64 [N] for k = 1..N; as certain ones count as their mean."""
    _, which = np.unique(uncertainty, return_inverse=True)
    rates = np.bincount(which, weights=wrong) / np.bincount(which)
    return np.cumsum(rates[np.sort(which)]) / np.arange(1, len(which) + 1)


def _at(share: int, risks: np.ndarray) -> float:
    """The rate among that percentage of the images, rounded up to whole ones."""
    return float(risks[-(-share * len(risks) // 100) - 1])
