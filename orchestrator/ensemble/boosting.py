"""New members trained on what the ensemble gets wrong: sample weights, rounds, and whether one is taken in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from orchestrator.ensemble.candidates import Candidate
from orchestrator.ensemble.combiners.fits import Fits
from orchestrator.scoring.resampling import CHOICE, resample_counts
from orchestrator.scoring.values import ScoredPredictions, dice_by_image, primary
from search_spaces import Config

#: Sample weights: the least and the most, before their mean is made 1.
LEAST, MOST = 0.5, 3.0
#: Share of the images with the largest errors that count as possible label errors.
SUSPECTS = 0.025
#: Where the weights are worth more than this share of all images, they are all alike: nothing to boost.
EVEN = 0.95


@dataclass(frozen=True)
class Emphasis:
    """How often images are drawn for a new member.

    Attributes:
        weights: float64 [N], mean 1 within each class.
        suspects: rows (int64) whose label, or mask, may be wrong, the worst first.
        effective: effective sample size, (sum v)^2 / sum v^2 (Kish 1965).
    """

    weights: np.ndarray
    suspects: np.ndarray
    effective: float

    @property
    def even(self) -> bool:
        """Whether the weights are so alike that boosting has nothing to go on."""
        return self.effective > EVEN * len(self.weights)


def errors(scored: ScoredPredictions) -> np.ndarray:
    """What is wrong with out-of-fold predictions, float64 [N], 0..1; NaN where nothing is known of an image.

    Classes: 1 - probability of the true class. Masks: of an image with a lesion 1 - Dice, of one without min(1,
    predicted area / median lesion area). Both: their mean.
    """
    parts = []
    if scored.probabilities is not None:
        known = scored.targets >= 0
        right = scored.probabilities[np.arange(len(scored)), scored.targets.clip(min=0)]
        parts.append(np.where(known, 1 - right, np.nan))
    if scored.counts is not None:
        tp, fp, fn = scored.counts.T
        lesion = scored.has_mask & (tp + fn > 0)
        median = float(np.median((tp + fn)[lesion])) if lesion.any() else 1.0
        wrong = np.where(lesion, 1 - dice_by_image(scored.counts), np.minimum(1, (tp + fp) / median))
        parts.append(np.where(scored.has_mask, wrong, np.nan))
    table = np.stack(parts)
    known = np.isfinite(table)
    count = known.sum(0)
    return np.where(count > 0, np.where(known, table, 0).sum(0) / np.maximum(count, 1), np.nan)


def emphasis(wrong: np.ndarray, labels: np.ndarray) -> Emphasis:
    """Weights from errors, float [N], as `errors` gives them, and class labels int64 [N].

    v = clip(.5 + .5 e / class mean of e, .5, 3); the largest 2.5 % of all errors get 1 and are listed; then the mean of
    each class is made 1.
    """
    weights = np.ones(len(wrong))
    known = np.isfinite(wrong)
    for label in np.unique(labels):
        inside = known & (labels == label)
        mean = wrong[inside].mean() if inside.any() else 0.0
        if mean > 0:
            weights[inside] = (0.5 + 0.5 * wrong[inside] / mean).clip(LEAST, MOST)
    ranked = np.argsort(np.where(known, -wrong, np.inf), kind="stable")
    suspects = ranked[: int(SUSPECTS * known.sum())]
    weights[suspects] = 1.0
    for label in np.unique(labels):
        weights[labels == label] /= weights[labels == label].mean()
    return Emphasis(weights, suspects, float(weights.sum() ** 2 / np.square(weights).sum()))


def start_of(candidates: Sequence[Candidate], round_: int) -> Candidate:
    """The candidate that a round (from 1) starts from: in the order of rank, one of each architecture first."""
    seen: dict[str, int] = {}
    turns = []
    for rank, candidate in enumerate(candidates):
        seen[candidate.architecture] = turn = seen.get(candidate.architecture, -1) + 1
        turns.append((turn, rank))
    order = sorted(range(len(candidates)), key=lambda i: turns[i])
    return candidates[order[(round_ - 1) % len(order)]]


def boost_config(candidate: Candidate, epochs: int, seed: int) -> Config:
    """The configuration of a new member: half the rate, nothing frozen unless all of it was, no warm-up."""
    config = candidate.config
    frozen = config["freeze_epochs"] >= config["epochs"]
    return {
        **config,
        "epochs": epochs,
        "lr": config["lr"] / 2,
        **({"freeze_lr": config["freeze_lr"] / 2} if config.get("freeze_lr") else {}),
        "freeze_epochs": epochs if frozen else 0,
        "warmup_epochs": 0,
        "early_stop": 0,
        "seed": config["seed"] + seed,
    }


def boost_epochs(candidate: Candidate, folds: int, slots: int, median_seconds: float) -> tuple[int, str]:
    """Epochs of a new member, half of its start's, but no more than make its `folds` trainings, `slots` at a time, end
    within the time that the median candidate took to train; and what there is to note of that.
    """
    half = max(1, round(candidate.epoch / 2))
    in_turn = -(-folds // slots) * max(candidate.seconds, 1e-9)
    fitting = max(1, int(median_seconds / in_turn))
    if fitting >= half:
        return half, ""
    return (
        fitting,
        f"{fitting} epochs, not {half}: a round takes no longer than the median candidate did (--boost-epochs)",
    )


@dataclass(frozen=True)
class Gain:
    """What a new member does to an ensemble on the compared rows.

    Attributes:
        fall: by how much it lowers the mean loss. error: standard error of that, over resamples of groups.
        score_before, score_with: the task's primary metric without it and with it.
    """

    fall: float
    error: float
    score_before: float
    score_with: float


def gain(task: str, before: Fits, after: Fits) -> Gain:
    """What the last member of `after` does, cross-fitted; `before` lacks it.

    For each fold the ensemble is fitted on the other folds, and its loss on this one compared, image by image, with and
    without the new member. Networks are not trained again: those of the other folds were weighted by errors of models
    that had seen this one, a leakage of second order.
    """
    held_out = after.held_out
    rows = np.flatnonzero(held_out.compared)

    def without_and_with(fold: int | None) -> list[tuple[np.ndarray, ScoredPredictions]]:
        assert fold is not None
        inside = np.flatnonzero(held_out.compared[after.rows(fold)])
        found = []
        for fits in (before, after):
            one, _ = fits.without(fold).fit("boosted-trained")
            found.append((fits.losses(one, fold)[inside], fits.predict(one, fold).take(inside)))
        return found

    folds = np.unique(held_out.folds[rows])
    without, with_it = zip(*after.each(without_and_with, folds.tolist()), strict=True)
    falls = np.empty(len(held_out))
    for fold, (losses, _), (losses_with, _) in zip(folds, without, with_it, strict=True):
        falls[held_out.compared & (held_out.folds == fold)] = losses - losses_with
    counts = resample_counts(held_out.groups[rows], held_out.labels[rows], CHOICE, after.seed)
    compared = falls[rows]
    return Gain(
        float(compared.mean()),
        float(np.std(counts @ compared / counts.sum(1), ddof=1)),
        primary(task, ScoredPredictions.join([scored for _, scored in without])),
        primary(task, ScoredPredictions.join([scored for _, scored in with_it])),
    )
