"""Whether the probability of malignant is what it says: calibration in the large, and its slope."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel

from orchestrator.scoring.operating_points import malignant_probabilities
from orchestrator.scoring.resampling import Estimate, enough, estimate, resample_counts
from orchestrator.scoring.values import ScoredPredictions

#: Probabilities nearer to 0 and 1 count as these: a logit must be finite.
LEAST = 1e-6
#: Newton steps, the change that ends them, and the largest coefficient: beyond it the classes are told apart by a
#: threshold, and no slope is the likeliest.
STEPS, SETTLED, STEEPEST = 50, 1e-8, 100.0


class Calibration(BaseModel, frozen=True):
    """Logistic recalibration of the malignant probability (Cox, Biometrika 45, 1958, 562-565).

    Attributes:
        n, malignant: images of known class, and those that are malignant.
        intercept: calibration in the large, at a slope of 1; 0 is perfect, above 0 malignancy is more frequent than the
            probabilities say. slope: 1 is perfect, below 1 they are too extreme. None where the classes are told apart
            without an error, so that none can be fitted; no interval with fewer than 10 groups of either kind.
    """

    n: int
    malignant: int
    intercept: Estimate | None
    slope: Estimate | None


def calibration(scored: ScoredPredictions, groups: np.ndarray, resamples: int, seed: int = 0) -> Calibration | None:
    """Intercept and slope of N images with intervals; None without malignant and other images of known class.

    Groups are drawn without regard to class here: how frequent malignancy is, is what an intercept is about, and in
    resamples within classes that would not vary.

    Args:
        groups: int64 [N]. resamples: how many groups are drawn for, 0 for no intervals. seed: of these.
    """
    chances, malignant = malignant_probabilities(scored)
    if malignant.all() or not malignant.any():
        return None
    known = scored.targets >= 0
    logits = np.log(chances.clip(LEAST, 1 - LEAST)) - np.log1p(-chances.clip(LEAST, 1 - LEAST))
    told = enough(groups[known], (malignant, ~malignant))
    counts = resample_counts(groups[known], np.zeros(len(logits), np.int64), resamples if told else 0, seed)
    drawn = np.concatenate([np.ones((1, len(logits))), counts])
    intercepts, slopes = intercept_in_the_large(logits, malignant, drawn), recalibration(logits, malignant, drawn)[1]
    return Calibration(
        n=len(logits), malignant=int(malignant.sum()), intercept=estimate(intercepts), slope=estimate(slopes)
    )


def intercept_in_the_large(logits: np.ndarray, malignant: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The constant by which logits, float64 [N], are likeliest off in each resample, float64 [B]; NaN of a single kind.

    Args:
        malignant: bool [N]. counts: float64 [B,N].
    """
    shift = np.zeros(len(counts))
    with np.errstate(all="ignore"):
        for _ in range(STEPS):
            chances = _sigmoid(logits + shift[:, None])
            step = (counts * (malignant - chances)).sum(1) / (counts * chances * (1 - chances)).sum(1)
            shift = shift + step.clip(-2, 2)
            if not (np.abs(step) > SETTLED).any():
                break
    return np.where((np.abs(step) <= SETTLED) & (np.abs(shift) < STEEPEST), shift, np.nan)


def recalibration(logits: np.ndarray, malignant: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Intercept and slope of the logistic regression on the logits, float64 [B] each; NaN where none is the likeliest.

    Args:
        logits: float64 [N]. malignant: bool [N]. counts: float64 [B,N].
    """
    middle, spread = logits.mean(), logits.std() or 1.0
    x = (logits - middle) / spread
    a, b = np.zeros(len(counts)), np.zeros(len(counts))
    with np.errstate(all="ignore"):
        for _ in range(STEPS):
            chances = _sigmoid(a[:, None] + b[:, None] * x)
            excess, weight = counts * (malignant - chances), counts * chances * (1 - chances)
            up_a, up_b = excess.sum(1), excess @ x
            aa, ab, bb = weight.sum(1), weight @ x, weight @ x**2
            determinant = aa * bb - ab**2
            step_a, step_b = (bb * up_a - ab * up_b) / determinant, (aa * up_b - ab * up_a) / determinant
            a, b = a + step_a.clip(-2, 2), b + step_b.clip(-2, 2)
            settled = np.maximum(np.abs(step_a), np.abs(step_b)) <= SETTLED
            if (settled | ~np.isfinite(step_a)).all():
                break
    good = settled & (np.abs(a) + np.abs(b) < STEEPEST)
    slope = np.where(good, b / spread, np.nan)
    return np.where(good, a - slope * middle, np.nan), slope


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    found: np.ndarray = 1 / (1 + np.exp(-logits))
    return found
