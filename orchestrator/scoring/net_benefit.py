"""Decision curves: what acting on the malignant probability is worth beside acting on everybody, and on nobody."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel

from orchestrator.scoring.operating_points import malignant_probabilities
from orchestrator.scoring.resampling import Estimate, enough, estimate
from orchestrator.scoring.values import ScoredPredictions

#: Probabilities from which a person would act, percent: beyond even odds a needless biopsy would be minded more than a
#: cancer that is missed.
THRESHOLDS = range(1, 51)


class NetBenefit(BaseModel, frozen=True):
    """Of acting from a threshold upwards: true positives less false ones at the threshold's odds, an image.

    Attributes:
        threshold: probability, 0..1. model: of acting on what the model says, with its interval. everybody: of acting
            on all; on nobody it is 0. gain: of the model over the better of both, paired, with its interval.
    """

    threshold: float
    model: Estimate
    everybody: float
    gain: Estimate


class DecisionCurve(BaseModel, frozen=True):
    """Net benefit at each of `THRESHOLDS` (Vickers and Elkin, Med. Decis. Making 26, 2006, 565-574).

    Attributes:
        n, malignant: images of known class, and those that are malignant; their share is taken for the prevalence.
        points: ascending; without intervals with fewer than 10 groups of either kind, and where resamples agree.
    """

    n: int
    malignant: int
    points: tuple[NetBenefit, ...]

    @property
    def useful(self) -> list[NetBenefit]:
        """Where the model is clearly worth more than acting on all and on none."""
        return [one for one in self.points if one.gain.interval and one.gain.interval[0] > 0]


def decision_curve(scored: ScoredPredictions, counts: np.ndarray, groups: np.ndarray) -> DecisionCurve | None:
    """The curve of N images; None without malignant and other images of known class.

    Args:
        counts: of `resample_counts`, float64 [B,N]. groups: int64 [N].
    """
    chances, malignant = malignant_probabilities(scored)
    if malignant.all() or not malignant.any():
        return None
    known = scored.targets >= 0
    told = enough(groups[known], (malignant, ~malignant))
    drawn = np.concatenate([np.ones((1, len(chances))), counts[:, known][: None if told else 0]])
    thresholds = np.array(THRESHOLDS) / 100
    model, everybody = net_benefit(chances, malignant, thresholds, drawn)
    gain = model - np.maximum(everybody, 0)
    points = []
    for i, threshold in enumerate(thresholds.tolist()):
        own, more = estimate(model[:, i]), estimate(gain[:, i])
        assert own
        assert more
        points.append(NetBenefit(threshold=threshold, model=own, everybody=float(everybody[0, i]), gain=more))
    return DecisionCurve(n=len(chances), malignant=int(malignant.sum()), points=tuple(points))


def net_benefit(
    chances: np.ndarray, malignant: np.ndarray, thresholds: np.ndarray, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Net benefit of the model and of acting on everybody in each resample, float64 [B,T] each.

    Args:
        chances: float64 [N]. malignant: bool [N]. thresholds: float64 [T], 0 < t < 1. counts: float64 [B,N].
    """
    called = chances[:, None] >= thresholds
    odds, n = thresholds / (1 - thresholds), counts.sum(1, keepdims=True)
    true, false = counts @ (called & malignant[:, None]), counts @ (called & ~malignant[:, None])
    share = (counts @ malignant)[:, None] / n
    return (true - odds * false) / n, share - odds * (1 - share)
