"""How long an ensemble takes, from what its candidates' trainings cost: said before it, and held against a deadline."""

from __future__ import annotations

import heapq
import math
from collections.abc import Collection, Sequence
from typing import NamedTuple

#: Seconds until the workers are there, and for writing and registering the product.
START, REGISTRATION = 10.0, 10.0
#: Of a training image's seconds, what a prediction takes: no backward pass.
PREDICTION = 1 / 3
#: Times that each network sees each test image: for the figures, and as the product that must say the same.
TEST_LOOKS = 2
#: Seconds of the comparison for each held-out image and candidate, with masks and without, on one core.
COMPARISON = {True: 0.03, False: 0.005}


class Cost(NamedTuple):
    """What training a candidate costs: epochs, and seconds of one in its slot."""

    epochs: int
    epoch: float

    @property
    def seconds(self) -> float:
        """Of the whole training."""
        return self.epochs * self.epoch


class Scale(NamedTuple):
    """How much an ensemble does: images to train on in all folds and to test on, folds, slots, and whether masks count.

    Attributes:
        compared: folds beyond the first that combiners are compared on.
    """

    images: int
    test: int
    folds: int
    compared: int
    slots: int
    masks: bool


def makespan(seconds: Sequence[float], slots: int) -> float:
    """Seconds until all trainings have ended, which begin in this order wherever a slot is free."""
    ends = [0.0] * slots
    for one in seconds:
        heapq.heapreplace(ends, ends[0] + one)
    return max(ends)


def folds_at_once(candidates: int, folds: int, slots: int, *, race: bool) -> int:
    """How many of the next folds are trained before it is asked who is still in the race: slots must not stand idle."""
    return max(1, slots // candidates) if race and candidates > 2 else folds


def ensemble_seconds(
    costs: Sequence[Cost],
    rounds: int,
    scale: Scale,
    *,
    race: bool = True,
    boost_epochs: int | None = None,
    longest_round: float = math.inf,
    trained: Collection[tuple[int, int]] = (),
) -> float:
    """Seconds of a whole ensemble; a race is expected to lose its last candidate at each stop.

    Args:
        costs: of the candidates, best first. rounds: of boosting.
        race: whether candidates that can neither win nor add are left out between folds.
        boost_epochs: of each boost training; None for half of its start's.
        longest_round: seconds that a boost round may take where its epochs are not given.
        trained: what is there already: (position of the candidate, fold).
    """
    total, racing, fold = START, len(costs), 1
    while fold <= scale.compared:
        stop = min(fold + folds_at_once(racing, scale.compared, scale.slots, race=race), scale.compared + 1)
        jobs = [(one, number) for number in range(fold, stop) for one in range(racing)]
        total += makespan([costs[one].seconds for one, number in jobs if (one, number) not in trained], scale.slots)
        fold, racing = stop, max(min(racing, 2), racing - race)
    for number in range(rounds if scale.compared else 0):
        start = costs[number % len(costs)]
        in_turn = -(-(scale.compared + 1) // scale.slots) * start.epoch
        half = min(start.epochs / 2, max(1.0, longest_round / max(in_turn, 1e-9)))
        total += in_turn * (boost_epochs or half)
    return total + finish_seconds(costs[: max(racing, 1)], scale)


def finish_seconds(costs: Sequence[Cost], scale: Scale) -> float:
    """Seconds of what follows the trainings: held-out predictions, comparison, the test images, registration."""
    networks, share = scale.compared + 1, (scale.compared + 1) / scale.folds
    trained_on = scale.images * (scale.folds - 1) / scale.folds
    image = sum(cost.epoch for cost in costs) * PREDICTION / max(trained_on, 1)
    predicted = image * (scale.images * share + TEST_LOOKS * scale.test * networks)
    return predicted + COMPARISON[scale.masks] * scale.images * share * len(costs) + REGISTRATION
