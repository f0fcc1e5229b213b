"""What searches are compared on: grids of recorded learning curves, and made ones whose curves cross."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from benchmarks.grid import GRIDS, Curve, Grid, read
from search_spaces import SPACES

#: Share of the configurations that a search has to find one of.
TOP = 0.02
Values = tuple[Any, ...]


@dataclass(frozen=True)
class Landscape:
    """The learning curves of every configuration of a grid.

    Attributes:
        axes: values by setting, `architecture` among them.
        curves: by the values of the axes in their order.
        house: the configuration nearest to the house default.
        costs: of an epoch by architecture, as a search knows them beforehand; of the house's architecture, 1.
    """

    name: str
    axes: Mapping[str, Values]
    curves: Mapping[Values, Curve]
    house: Values
    costs: Mapping[str, float]

    @property
    def epochs(self) -> int:
        """Of a whole trial."""
        return len(self.curves[self.house].best)

    @cached_property
    def target(self) -> float:
        """The least final value of the best configurations."""
        ends = sorted((curve.best[-1] for curve in self.curves.values()), reverse=True)
        return ends[max(1, math.ceil(TOP * len(ends))) - 1]


def recorded(grid: Grid) -> Landscape:
    """The recorded curves of a task."""
    space = SPACES[grid.task]
    names: Values = grid.axes["architecture"]
    start = "tf_efficientnet_lite0" if grid.task == "cls" else "smp_unet"
    house = {name: space.HOUSE[name] for name in grid.axes if name != "architecture"}
    rate = min(grid.axes["lr"], key=lambda lr: abs(math.log(lr / house["lr"])))
    costs = {name: next(iter(space.architecture(name).costs.values())) for name in names}
    return Landscape(
        grid.name,
        grid.axes,
        read(grid),
        tuple(({"architecture": start} | house | {"lr": rate})[name] for name in grid.axes),
        {name: cost / costs[start] for name, cost in costs.items()},
    )


def crossing(name: str, epochs: int, seed: int) -> Landscape:
    """Made curves of long trials: what learns slowly ends higher, and architectures' costs differ 50 times.

    A slow rate and strong augmentation both slow a trial down; each architecture has a rate of its own at which it ends
    highest, and what it is worth has little to do with its cost.
    """
    rng = np.random.default_rng(seed)
    costs = {"a": 0.25, "b": 0.5, "house": 1.0, "c": 3.0, "d": 6.0, "e": 12.5}
    axes: dict[str, Values] = {
        "architecture": tuple(costs),
        "lr": tuple(range(6)),
        "augmentation": ("none", "light", "strong"),
        "loss": ("one", "other"),
    }
    worth = dict(zip(costs, rng.normal(0, 0.02, len(costs)), strict=True))
    rates = dict(zip(costs, rng.uniform(1.5, 4, len(costs)), strict=True))
    slow = dict(zip(costs, rng.uniform(0.04, 0.1, len(costs)), strict=True))
    other = rng.normal(0, 0.01)
    curves = {}
    for point in itertools.product(*axes.values()):
        architecture, lr, augmentation, loss = point
        strength = axes["augmentation"].index(augmentation)
        end = 0.85 + worth[architecture] - 0.012 * (lr - rates[architecture]) ** 2 + 0.008 * strength
        end += other * (loss == "other") + rng.normal(0, 0.004)
        pace = epochs * slow[architecture] * 1.3 ** (strength - 1) * 1.3 ** (rates[architecture] - lr)
        values = end - 0.5 * np.exp(-np.arange(1, epochs + 1) / pace) + rng.normal(0, 0.004, epochs)
        best = tuple(np.maximum.accumulate(values).clip(0, 1).tolist())
        curves[point] = Curve(best, costs[architecture] * float(rng.uniform(0.9, 1.1)))
    return Landscape(name, axes, curves, ("house", 2, "light", "one"), costs)


def landscapes() -> list[Landscape]:
    """All that searches are compared on: the grids that are recorded in full, and two made ones."""
    full = [grid for grid in GRIDS.values() if len(read(grid)) == len(list(grid.points()))]
    return [*map(recorded, full), crossing("made, 27 epochs", 27, 0), crossing("made, 40 epochs", 40, 1)]
