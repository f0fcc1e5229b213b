"""Triage with a guarantee: rule out, rule in, or uncertain, by class-conditional conformal prediction.

Calibrated on out-of-fold predictions, of malignant and of other images apart (Mondrian conformal prediction: Vovk,
Gammerman and Shafer, Algorithmic Learning in a Random World, 2005, section 4.5): of new malignant images at most the
named rate is ruled out, and of others at most that rate ruled in, on average over calibration sets, as long as patients
are exchangeable. Images of a group share the weight of one, so that the promise is of an image of a new patient (Lee,
Barber and Willett, JRSS B 2025, "Distribution-free inference with hierarchical data").
"""

from __future__ import annotations

import math

import numpy as np
from scipy.stats import binomtest

from orchestrator.inference.triage import Decision, Triage
from orchestrator.scoring.operating_points import malignant_probabilities
from orchestrator.scoring.resampling import Estimate
from orchestrator.scoring.values import ScoredPredictions


class AppliedTriage(Triage, frozen=True):
    """What it does on n images of known class: shares with exact intervals (Clopper and Pearson, Biometrika 26, 1934).

    Attributes:
        n, malignant: images, and those that are malignant.
        ruled_out: share of the malignant that is ruled out, wrongly. ruled_in: share of the others that is ruled in,
            wrongly. None where no image is of that kind. uncertain: share of all.
    """

    n: int
    malignant: int
    ruled_out: Estimate | None
    ruled_in: Estimate | None
    uncertain: Estimate

    @property
    def kept(self) -> bool:
        """Whether no error is clearly more frequent than promised."""
        bounds = [one.interval for one in (self.ruled_out, self.ruled_in) if one]
        return all(found is None or found[0] <= self.rate for found in bounds)


def calibrate(held_out: ScoredPredictions, groups: np.ndarray, rate: float) -> Triage | None:
    """The thresholds by which at most this rate of either kind is decided wrongly; None without both kinds.

    Args:
        held_out: predictions of N images that neither networks nor combiner were fitted on. groups: int64 [N].
    """
    chances, malignant = malignant_probabilities(held_out)
    if malignant.all() or not malignant.any():
        return None
    groups = groups[held_out.targets >= 0]
    below = _bound(chances[malignant], groups[malignant], rate)
    above = -_bound(-chances[~malignant], groups[~malignant], rate)
    return Triage(
        rate=rate,
        rule_out_below=max(below, 0.0),
        rule_in_above=min(above, 1.0),
        malignant_groups=len(np.unique(groups[malignant])),
        other_groups=len(np.unique(groups[~malignant])),
    )


def apply(triage: Triage | None, scored: ScoredPredictions) -> AppliedTriage | None:
    """What it does here; None of none, and without an image of known class."""
    chances, malignant = malignant_probabilities(scored)
    if triage is None or not len(chances):
        return None
    said = np.array([triage.decide(chance) for chance in chances])
    out, into = said == Decision.RULE_OUT, said == Decision.RULE_IN
    return AppliedTriage(
        **triage.model_dump(include=set(Triage.model_fields)),
        n=len(chances),
        malignant=int(malignant.sum()),
        ruled_out=_share(out[malignant]),
        ruled_in=_share(into[~malignant]),
        uncertain=Estimate(value=float(np.mean(~out & ~into)), interval=_exact(~out & ~into)),
    )


def _bound(scores: np.ndarray, groups: np.ndarray, rate: float) -> float:
    """The largest score below which at most this rate of new images of the kind is expected; -inf with too few groups.

    A score is below it exactly where its conformal p-value is at most the rate: the weight of calibration images that
    score no higher, an image of a group of k counting as 1/k, with the new image's own 1, over groups and 1.
    """
    _, which, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.argsort(scores, kind="stable")
    weight = np.cumsum(1 / sizes[which[order]])
    allowed = rate * (len(sizes) + 1) - 1
    if allowed < -1e-9:
        return -math.inf
    return float(scores[order][np.searchsorted(weight, allowed + 1e-9, side="right")])


def _share(wrong: np.ndarray) -> Estimate | None:
    return Estimate(value=float(wrong.mean()), interval=_exact(wrong)) if len(wrong) else None


def _exact(which: np.ndarray) -> tuple[float, float]:
    found = binomtest(int(which.sum()), len(which)).proportion_ci(method="exact")
    return float(found.low), float(found.high)
