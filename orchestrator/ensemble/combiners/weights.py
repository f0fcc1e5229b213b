"""Weights of candidates from their held-out logits, a list of weights a head: what the combiners differ in.

Plain numpy. `with_trained` adds the members that boosting trained.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from orchestrator.ensemble.combiners.functional_boosting import boost, line_search, rounds_by_cv
from orchestrator.ensemble.combiners.objectives import Objective

PICKS = 25
#: Of the metric, for another pick. Noise finds smaller gains by chance: some pairs of images, some pixels.
LEAST_GAIN = 1e-3

Weighting = Callable[[list[Objective], int], tuple[list[np.ndarray], str]]


def best(heads: list[Objective], seed: int) -> tuple[list[np.ndarray], str]:
    """The candidate of the largest metric, in the mean over heads; the same for all of them."""
    scores = [[_metric(head, one) for one in head.logits] for head in heads]
    chosen = int(np.mean(scores, axis=0).argmax())
    return [np.eye(len(head.logits))[chosen] for head in heads], ""


def mean(heads: list[Objective], seed: int) -> tuple[list[np.ndarray], str]:
    """All candidates alike."""
    return [np.full(len(head.logits), 1 / len(head.logits)) for head in heads], ""


def greedy(heads: list[Objective], seed: int) -> tuple[list[np.ndarray], str]:
    """Ensemble selection with replacement (Caruana et al., ICML 2004) on each head's own metric.

    From the best candidate on, up to 25 picks, each of the candidate whose addition to the mean of those picked makes
    the metric largest (of several the earlier one); it ends where that gains less than .001. The metric of several
    heads is the mean of theirs, each of which depends on its own weights alone: heads are chosen for separately.
    """
    weights, picks = [], []
    for head in heads:
        scores = [_metric(head, one) for one in head.logits]
        picked = [int(np.argmax(scores))]
        score, total = max(scores), head.logits[picked[0]].copy()
        while len(picked) < PICKS:
            scores = [_metric(head, total + one) for one in head.logits]
            chosen = int(np.argmax(scores))
            if scores[chosen] < score + LEAST_GAIN:
                break
            picked.append(chosen)
            score, total = scores[chosen], total + head.logits[chosen]
        weights.append(np.bincount(picked, minlength=len(head.logits)) / len(picked))
        picks.append(str(len(picked)))
    return weights, f"picks: {', '.join(picks)}"


def boosted(heads: list[Objective], seed: int) -> tuple[list[np.ndarray], str]:
    """Convex boosting of the candidates, as many rounds as grouped cross-validation finds for each head."""
    weights, counts = [], []
    for head in heads:
        rounds = rounds_by_cv(head, seed)
        weights.append(boost(head, rounds)[-1])
        counts.append(str(rounds))
    return weights, f"rounds: {', '.join(counts)}"


def with_trained(heads: list[Objective], boosted: list[np.ndarray], note: str) -> tuple[list[np.ndarray], str]:
    """The weights of `boosted`, and then each member that was trained on what the ensemble gets wrong, in order.

    Member b comes in with half of the a in [0, 1] that makes L((1 - a) F + a Z_b) least.
    """
    weights, shares = [], []
    for head, own in zip(heads, boosted, strict=True):
        found = padded(own, len(head.logits))
        for member in range(len(own), len(head.logits)):
            combined = head.combined(found)
            share = line_search(head, combined, head.logits[member] - combined) / 2
            found = (1 - share) * found + share * np.eye(len(head.logits))[member]
            shares.append(f"{share:.2f}")
        weights.append(found)
    return weights, f"{note}; shares of trained members: {', '.join(shares)}" if shares else note


def padded(weights: np.ndarray, members: int) -> np.ndarray:
    """Weights, float64 [M], with 0 for the members after those that they are of."""
    return np.append(weights, np.zeros(members - len(weights)))


def _metric(head: Objective, combined: np.ndarray) -> float:
    """The head's metric; 0 for all members where there is nothing to tell them apart by."""
    return float(np.nan_to_num(head.metric(combined)))
