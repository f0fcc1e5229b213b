"""A search in discrete events over curves that are known: what it spends until it has found one of the best."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from benchmarks.landscapes import Landscape, Values
from orchestrator.tuning.rungs import REDUCTION_FACTOR, Rungs, levels


class Draws(Protocol):
    """Which configuration comes next; never one twice."""

    def draw(self) -> Values | None:
        """The next one; None when none is left."""

    def tell(self, point: Values, value: float) -> None:
        """The best value so far of a trial that was stopped, waits or ended."""


class Rule(Protocol):
    """Which trials go on."""

    def reach(self, point: Values, epoch: int, value: float) -> bool:
        """A trial has this value after an epoch; whether it goes on."""

    def promote(self, *, last: bool) -> Values | None:
        """The waiting trial that goes on next, if any. `last`: no new trial will come."""


class WholeTrials:
    """Every trial runs to its end."""

    def reach(self, point: Values, epoch: int, value: float) -> bool:
        return True

    def promote(self, *, last: bool) -> None:
        return None


class StopForGood(WholeTrials):
    """ASHA as this project had it, and Ray has: who is not among the best third so far, is out.

    The first trial of each architecture is not stopped at the first rung.
    """

    def __init__(self, landscape: Landscape) -> None:
        self._values: Mapping[int, list[float]] = {level: [] for level in levels(landscape.epochs)}
        self._architecture = list(landscape.axes).index("architecture")
        self._firsts: dict[str, Values] = {}

    def reach(self, point: Values, epoch: int, value: float) -> bool:
        first = self._firsts.setdefault(point[self._architecture], point)
        if epoch not in self._values:
            return True
        known = self._values[epoch]
        passes = not known or value >= np.percentile(known, 100 * (1 - 1 / REDUCTION_FACTOR))
        known.append(value)
        return bool(passes) or (first == point and epoch == min(self._values))


class Promotion:
    """This project's rungs."""

    def __init__(self, landscape: Landscape) -> None:
        self._rungs = Rungs(landscape.epochs)
        self._points: dict[str, Values] = {}

    def reach(self, point: Values, epoch: int, value: float) -> bool:
        self._points[str(point)] = point
        return self._rungs.reach(str(point), epoch, value)

    def promote(self, *, last: bool) -> Values | None:
        trial = self._rungs.promote(last=last)
        return None if trial is None else self._points[trial]


@dataclass(frozen=True)
class Spent:
    """What a search spent, all slots together: epochs that were trained, and seconds that went by in each slot."""

    epochs: float
    seconds: float


def spend(landscape: Landscape, draws: Draws, rule: Rule, slots: int) -> Spent:
    """Until a trial reaches the target; a search that never does is charged for the whole grid."""
    running: list[tuple[float, int, Values]] = []
    trained: dict[Values, int] = {}
    order = itertools.count()
    clock, epochs, empty = 0.0, 0, False

    def train(point: Values) -> None:
        heapq.heappush(running, (clock + landscape.curves[point].seconds, next(order), point))

    while True:
        while len(running) < slots:
            point = rule.promote(last=empty and not running)
            if point is None and not empty:
                point = draws.draw()
                empty = point is None
                if empty:
                    continue
            if point is None:
                break
            train(point)
        if not running:
            whole = math.fsum(curve.seconds for curve in landscape.curves.values())
            return Spent(landscape.epochs * len(landscape.curves), landscape.epochs * whole)
        clock, _, point = heapq.heappop(running)
        epochs += 1
        epoch = trained[point] = trained.get(point, 0) + 1
        value = landscape.curves[point].best[epoch - 1]
        if value >= landscape.target:
            return Spent(epochs, clock * slots)
        if epoch < landscape.epochs and rule.reach(point, epoch, value):
            train(point)
        else:
            draws.tell(point, value)
