"""Which trials go on and which wait: ASHA that pauses and promotes."""

from __future__ import annotations

import math

REDUCTION_FACTOR = 3


def levels(epochs: int, cost: float = 1.0) -> tuple[int, ...]:
    """The epochs, ascending, after which a trial of so many waits.

    The first is a fifth of the trial, at least 2 epochs: earlier values say little about the end, and where curves
    cross, a first rung at 2 of 40 epochs never promotes the best at all. A trial that costs more reaches its rungs
    after fewer epochs and one that costs less after more, so that those who meet at a rung have had the same seconds.

    Args:
        epochs: of a trial that runs to its end.
        cost: of an epoch, of which the house default's is 1.
    """
    found: list[int] = []
    level = max(2, math.ceil(epochs / 5))
    while level < epochs:
        least = found[-1] + 1 if found else 1
        found.append(max(least, round(level / cost)))
        level *= REDUCTION_FACTOR
    return tuple(level for level in found if level < epochs)


class Rungs:
    """ASHA with promotion (Li et al., MLSys 2020, algorithm 2), on the best value so far; larger is better.

    A trial waits at each rung, and the best third of those that reached a rung go on from it. Unlike a trial that is
    stopped for good, one that was judged early by few others may go on when more are known.

    Args:
        epochs: of a trial that runs to its end.
    """

    def __init__(self, epochs: int) -> None:
        self._epochs = epochs
        self._values: list[dict[str, float]] = [{} for _ in levels(epochs)]  # by rung: trial -> its value there
        self._passed: list[set[str]] = [set() for _ in self._values]

    def reach(self, trial: str, epoch: int, value: float, cost: float = 1.0) -> bool:
        """A trial has this value after an epoch; whether it goes on.

        Args:
            cost: of the trial's epochs, always the same; see `levels`.
        """
        own = levels(self._epochs, cost)
        if epoch not in own:
            return True
        rung = own.index(epoch)
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
        for rung in reversed(range(len(self._values))):
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
