"""Which trials go on and which wait: ASHA that pauses and promotes."""

from __future__ import annotations

import math

REDUCTION_FACTOR = 3


def levels(epochs: int) -> tuple[int, ...]:
    """The epochs, ascending, after which a trial of so many waits.

    The first is after a fifth of the trial, at least 2 epochs: earlier values say little about the end, and where
    curves cross, a search with a first rung at 2 of 40 epochs may never promote the best.
    """
    found, level = [], max(2, math.ceil(epochs / 5))
    while level < epochs:
        found.append(level)
        level *= REDUCTION_FACTOR
    return tuple(found)


class Rungs:
    """ASHA with promotion (Li et al., MLSys 2020, algorithm 2), on the best value so far; larger is better.

    A trial waits at each rung, and the best third of those that reached a rung go on from it. Unlike a trial that is
    stopped for good, one that was judged early by few others may go on when more are known.

    Args:
        epochs: of a trial that runs to its end.
    """

    def __init__(self, epochs: int) -> None:
        self._levels = levels(epochs)
        self._values: list[dict[str, float]] = [{} for _ in self._levels]  # by rung: trial -> its value there
        self._passed: list[set[str]] = [set() for _ in self._levels]

    def reach(self, trial: str, epoch: int, value: float) -> bool:
        """A trial has this value after an epoch; whether it goes on."""
        if epoch not in self._levels:
            return True
        rung = self._levels.index(epoch)
        if trial in self._passed[rung]:  # its checkpoint was lost, and it reports again
            return True
        self._values[rung][trial] = value
        if trial not in self._best(rung):
            return False
        self._passed[rung].add(trial)
        return True

    def promote(self, *, last: bool = False) -> str | None:
        """The waiting trial that goes on next, of the highest rung and best there; None where each has to wait.

        Args:
            last: no new trial will come, so that of each rung one at least goes on.
        """
        for rung in reversed(range(len(self._levels))):
            for trial in self._best(rung, least=int(last)):
                if trial not in self._passed[rung]:
                    self._passed[rung].add(trial)
                    return trial
        return None

    def drop(self, trial: str) -> None:
        """A trial failed: it goes nowhere, and nobody waits for its place."""
        for values in self._values:
            values.pop(trial, None)

    def _best(self, rung: int, least: int = 0) -> list[str]:
        values = self._values[rung]
        ranked = sorted(values, key=lambda trial: -values[trial])
        return ranked[: max(least, len(ranked) // REDUCTION_FACTOR)]
