"""Weights of members from their held-out logits, a list of weights a head: what the combiners differ in. Plain numpy.

Only the first `candidates` members are weighed; `with_trained` adds the members after them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from orchestrator.ensemble.combiners.functional_boosting import boost, line_search, rounds_by_cv
from orchestrator.ensemble.combiners.objectives import Objective

PICKS = 25
#: Of the metric, for another pick. Noise finds smaller gains by chance: some pairs of images, some pixels.
LEAST_GAIN = 1e-3

Weighting = Callable[[list[Objective], int, int], tuple[list[np.ndarray], str]]


def best(heads: list[Objective], candidates: int, seed: int) -> tuple[list[np.ndarray], str]:
    """The candidate of the largest metric, in the mean over heads; the same for all of them."""
    scores = [[_metric(head, head.scaled[member]) for member in range(candidates)] for head in heads]
    chosen = int(np.mean(scores, axis=0).argmax())
    return [np.eye(len(head.scaled))[chosen] for head in heads], ""


def mean(heads: list[Objective], candidates: int, seed: int) -> tuple[list[np.ndarray], str]:
    """All candidates alike."""
    return [_padded(np.full(candidates, 1 / candidates), head) for head in heads], ""


def greedy(heads: list[Objective], candidates: int, seed: int) -> tuple[list[np.ndarray], str]:
    """Ensemble selection with replacement (Caruana et al., ICML 2004) on each head's own metric.

    From the best candidate on, up to 25 picks, each of the candidate whose addition to the mean of those picked makes
    the metric largest (of several the earlier one); it ends where that gains less than .001. The metric of several
    heads is the mean of theirs, each of which depends on its own weights alone: heads are chosen for separately.
    """
    weights, picks = [], []
    for head in heads:
        scores = [_metric(head, head.scaled[member]) for member in range(candidates)]
        picked = [int(np.argmax(scores))]
        score, total = max(scores), head.scaled[picked[0]].copy()
        while len(picked) < PICKS:
            scores = [_metric(head, total + head.scaled[member]) for member in range(candidates)]
            chosen = int(np.argmax(scores))
            if scores[chosen] < score + LEAST_GAIN:
                break
            picked.append(chosen)
            score, total = scores[chosen], total + head.scaled[chosen]
        weights.append(np.bincount(picked, minlength=len(head.scaled)) / len(picked))
        picks.append(str(len(picked)))
    return weights, f"picks: {', '.join(picks)}"


def boosted(heads: list[Objective], candidates: int, seed: int) -> tuple[list[np.ndarray], str]:
    """Convex boosting of the candidates, as many rounds as grouped cross-validation finds for each head."""
    weights, counts = [], []
    for head in heads:
        rounds = rounds_by_cv(head.first(candidates), seed)
        weights.append(_padded(boost(head.first(candidates), rounds)[-1], head))
        counts.append(str(rounds))
    return weights, f"rounds: {', '.join(counts)}"


def with_trained(
    heads: list[Objective], candidates: int, boosted: list[np.ndarray], note: str
) -> tuple[list[np.ndarray], str]:
    """The weights of `boosted`, and then each member that was trained on what the ensemble gets wrong, in order.

    Member b comes in with half of the a in [0, 1] that makes L((1 - a) F + a Z_b) least.
    """
    weights, shares = list(boosted), []
    for which, head in enumerate(heads):
        for member in range(candidates, len(head.scaled)):
            combined = head.combined(weights[which])
            share = line_search(head, combined, head.scaled[member] - combined) / 2
            weights[which] = (1 - share) * weights[which] + share * np.eye(len(head.scaled))[member]
            shares.append(f"{share:.2f}")
    return weights, f"{note}; shares of trained members: {', '.join(shares)}" if shares else note


def _metric(head: Objective, combined: np.ndarray) -> float:
    """The head's metric; 0 for all members where there is nothing to tell them apart by."""
    return float(np.nan_to_num(head.metric(combined)))


def _padded(weights: np.ndarray, head: Objective) -> np.ndarray:
    return np.concatenate([weights, np.zeros(len(head.scaled) - len(weights))])
