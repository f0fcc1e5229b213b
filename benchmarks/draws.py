"""Which configuration of a landscape a search tries next."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
from optuna.trial import TrialState, create_trial

from benchmarks.landscapes import Landscape, Values
from orchestrator.tuning.plan import each_once
from orchestrator.tuning.searcher import sampler

#: Of the search that a simulated one is the beginning of: bounds its first points.
TRIALS = 30


class AtRandom:
    """Every configuration in random order."""

    def __init__(self, landscape: Landscape, seed: int) -> None:
        points = list(landscape.curves)
        self._left = [points[place] for place in np.random.default_rng(seed).permutation(len(points))]

    def draw(self) -> Values | None:
        return self._left.pop() if self._left else None

    def tell(self, point: Values, value: float) -> None:
        """Nothing is learnt."""


class Suggested:
    """What this project's sampler suggests after the first points: the house default and other architectures, once.

    In a real space, which is continuous, nothing comes twice, so that what is suggested again becomes the nearest
    configuration that was not drawn, by the number of axes that differ and half the steps of the learning rate. As in
    the journal of a real study, a trial that was told is never changed: one that went on is told as another.

    Args:
        bounded: whether first points that cost much are left out.
    """

    def __init__(self, landscape: Landscape, seed: int, *, bounded: bool = True) -> None:
        self._axes, self._seed, self._number = landscape.axes, seed, 0
        self._points = list(landscape.curves)
        self._places = np.array([self._place(dict(zip(self._axes, point, strict=True))) for point in self._points])
        self._rate = list(self._axes).index("lr")
        self._left = np.ones(len(self._points), bool)
        self._rng = np.random.default_rng(seed)
        self._study = optuna.create_study(direction="maximize")
        self._told: dict[Values, float] = {}
        self._running: dict[Values, int] = {}  # its number in the study
        # The learning rate by its place, in order, as on the real axis.
        self._distributions: dict[str, Any] = {
            name: optuna.distributions.IntDistribution(0, len(values) - 1)
            if name == "lr"
            else optuna.distributions.CategoricalDistribution(values)
            for name, values in self._axes.items()
        }
        house = self._parameters(landscape.house)
        costs = landscape.costs if bounded else dict.fromkeys(sorted(landscape.costs, key=landscape.costs.get), 1.0)
        self._first = each_once([house], costs, TRIALS)

    def draw(self) -> Values | None:
        if not self._left.any():
            return None
        self._number += 1
        self._study.sampler = sampler(self._seed, self._number)
        if self._number <= len(self._first):
            self._study.enqueue_trial(self._first[self._number - 1])
        asked = self._study.ask(self._distributions)
        self._study.tell(asked, state=TrialState.FAIL)  # what is drawn is told instead
        rates = self._axes["lr"]
        point = self._nearest(self._place({**asked.params, "lr": rates[asked.params["lr"]]}))
        self._study.add_trial(self._trial(point, state=TrialState.RUNNING))
        self._running[point] = len(self._study.get_trials(deepcopy=False)) - 1
        return point

    def tell(self, point: Values, value: float) -> None:
        if point in self._running:
            self._study.tell(self._running.pop(point), value)
        elif value != self._told[point]:
            self._study.add_trial(self._trial(point, value=value))
        self._told[point] = value

    def _nearest(self, place: list[int]) -> Values:
        differ = self._places != place
        differ[:, self._rate] = False
        distances = differ.sum(axis=1) + abs(self._places[:, self._rate] - place[self._rate]) / 2
        distances[~self._left] = np.inf
        chosen = int(self._rng.choice(np.flatnonzero(distances == distances.min())))
        self._left[chosen] = False
        return self._points[chosen]

    def _place(self, values: dict[str, Any]) -> list[int]:
        return [self._axes[name].index(values[name]) for name in self._axes]

    def _parameters(self, point: Values) -> dict[str, Any]:
        named = dict(zip(self._axes, point, strict=True))
        return {**named, "lr": self._axes["lr"].index(named["lr"])}

    def _trial(self, point: Values, **fields: Any) -> optuna.trial.FrozenTrial:
        return create_trial(params=self._parameters(point), distributions=self._distributions, **fields)
