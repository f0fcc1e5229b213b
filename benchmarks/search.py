"""`python -m benchmarks.search`: epochs that a search needs to reach the best 2 % of a grid of real learning curves.

Each way draws configurations one after another and looks their curves up in grid.jsonl; cost is counted in epochs until
a trial's best value so far reaches the value of the grid's 98th percentile, and at most as many epochs as the grid has.
No way draws a point twice, as in a real space, which is continuous, nothing comes twice: what a sampler suggests again
becomes the nearest point that was not drawn, by the number of axes that differ and half the steps of the learning rate.
"""

from __future__ import annotations

import itertools
import logging
import math
import sys
import warnings
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna

from benchmarks import grid
from benchmarks.report import machine, table
from orchestrator.tuning.scheduler import Asha
from orchestrator.tuning.searcher import sampler
from search_spaces.cls import HOUSE

SEEDS, TOP, METRIC = 20, 0.02, "best/auroc"
#: The learning rate by its place, in order, as on the real axis.
DISTRIBUTIONS: dict[str, Any] = {
    name: optuna.distributions.IntDistribution(0, len(values) - 1)
    if name == "lr"
    else optuna.distributions.CategoricalDistribution(values)
    for name, values in grid.AXES.items()
}
Point = dict[str, Any]
Curves = dict[tuple[Any, ...], list[float]]


def house_point() -> Point:
    """The grid's point nearest to what every search for cls starts with."""
    rate = min(grid.AXES["lr"], key=lambda lr: abs(math.log(lr / HOUSE["lr"])))
    return {"architecture": "tf_efficientnet_lite0", **{name: HOUSE[name] for name in grid.AXES if name in HOUSE}} | {
        "lr": rate
    }


def random_search(curves: Curves, seed: int) -> Iterator[tuple[Point, Callable[[float], None]]]:
    """Points in random order."""
    names = list(grid.AXES)
    for index in np.random.default_rng(seed).permutation(len(curves)):
        yield dict(zip(names, list(curves)[index], strict=True)), lambda value: None


def tpe(curves: Curves, seed: int, first: Point | None = None) -> Iterator[tuple[Point, Callable[[float], None]]]:
    """What this project's sampler suggests; it is told each trial's best value."""
    study = optuna.create_study(direction="maximize")
    left, rng = list(curves), np.random.default_rng(seed)
    for number in itertools.count(1):
        study.sampler = sampler(seed, number)
        asked = study.ask(DISTRIBUTIONS)
        wanted = tuple(first.values()) if number == 1 and first else _point(asked.params)
        distances = [_distance(wanted, point) for point in left]
        drawn = left.pop(rng.choice(np.flatnonzero(np.equal(distances, min(distances)))))
        study.tell(asked, state=optuna.trial.TrialState.FAIL)  # what was drawn is told instead

        def tell(value: float, drawn: tuple[Any, ...] = drawn) -> None:
            told = optuna.trial.create_trial(params=_parameters(drawn), distributions=DISTRIBUTIONS, value=value)
            study.add_trial(told)

        yield dict(zip(grid.AXES, drawn, strict=True)), tell
        if not left:
            return


def _point(parameters: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(grid.AXES[name][parameters[name]] if name == "lr" else parameters[name] for name in grid.AXES)


def _parameters(point: tuple[Any, ...]) -> dict[str, Any]:
    named = dict(zip(grid.AXES, point, strict=True))
    return {**named, "lr": grid.AXES["lr"].index(named["lr"])}


def _distance(one: tuple[Any, ...], other: tuple[Any, ...]) -> float:
    here, there = _parameters(one), _parameters(other)
    differ = sum(here[name] != there[name] for name in here if name != "lr")
    return differ + abs(here["lr"] - there["lr"]) / 2


def cost(
    draws: Iterator[tuple[Point, Callable[[float], None]]], curves: Curves, target: float, asha: Asha | None
) -> int:
    """Epochs trained until a trial reaches the target; with `asha`, trials may be stopped early."""
    spent = 0
    for number, (point, tell) in enumerate(draws):
        curve = curves[tuple(point.values())]
        trial: Any = SimpleNamespace(trial_id=str(number), config=point)
        nobody: Any = None
        if asha:
            asha.on_trial_add(nobody, trial)
        for epoch, value in enumerate(curve, start=1):
            spent += 1
            if value >= target:
                return spent
            result = {METRIC: value, "training_iteration": epoch}
            if asha and asha.on_trial_result(nobody, trial, result) == asha.STOP:
                asha.on_trial_complete(nobody, trial, result)
                break
        tell(value)
    return spent  # stopped early, whatever would have reached it


def main() -> None:
    """Print the table."""
    optuna.logging.set_verbosity(logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    curves = grid.read()
    ends = sorted((curve[-1] for curve in curves.values()), reverse=True)
    target = ends[max(1, math.ceil(TOP * len(ends))) - 1]
    ways: dict[str, Callable[[int], int]] = {
        "random search": lambda seed: cost(random_search(curves, seed), curves, target, None),
        "TPE, no stopping": lambda seed: cost(tpe(curves, seed), curves, target, None),
        "random search with ASHA": lambda seed: cost(
            random_search(curves, seed), curves, target, Asha(grid.EPOCHS, METRIC)
        ),
        "this project, without its first point": lambda seed: cost(
            tpe(curves, seed), curves, target, Asha(grid.EPOCHS, METRIC)
        ),
        "this project": lambda seed: cost(tpe(curves, seed, house_point()), curves, target, Asha(grid.EPOCHS, METRIC)),
    }
    rows: list[dict[str, str | float]] = []
    for name, way in ways.items():
        costs = []
        for seed in range(SEEDS):
            costs.append(way(seed))
            print(name, seed, costs[-1], file=sys.stderr)
        low, middle, high = np.percentile(costs, (25, 50, 75))
        against = float(rows[0]["median epochs"]) if rows else middle
        rows.append(
            {
                "search": name,
                "median epochs": middle,
                "quartiles": f"{low:.0f}-{high:.0f}",
                "of random": middle / against,
            }
        )
    house = curves[tuple(house_point().values())][-1]
    place = sum(end > house for end in ends) + 1
    print(machine())
    print(
        f"{len(curves)} configurations of {grid.EPOCHS} epochs; target AUROC {target:.4f}; house default: place {place}"
    )
    print(table(rows))


if __name__ == "__main__":
    main()
