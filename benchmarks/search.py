"""`python -m benchmarks.search`: what a search spends to reach the best 2 % of grids whose learning curves are known.

Spent are epochs and seconds, those of all slots together, until the best value so far of a trial reaches the final
value of the grid's best 2 %. Random search runs every trial to its end; on one slot its epochs are counted exactly, by
all orders of the grid, otherwise by 2,000 of them. A grid that is not recorded in full is left out.
"""

from __future__ import annotations

import argparse
import logging
import math
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import optuna

from benchmarks.draws import AtRandom, Suggested
from benchmarks.landscapes import Landscape, landscapes
from benchmarks.report import machine, table
from benchmarks.simulator import Promotion, Rule, StopForGood, WholeTrials, spend

SEEDS, ORDERS, SLOTS = 100, 2000, (1, 3)
#: What suggests a trial, and which go on.
SEARCHES: dict[str, tuple[Callable[[Landscape, int], Suggested], Callable[[Landscape], Rule]]] = {
    "before": (partial(Suggested, bounded=False), StopForGood),
    "with promotion": (partial(Suggested, bounded=False), Promotion),
    "this project: its first points bounded, too": (Suggested, Promotion),
}


@dataclass(frozen=True)
class Cost:
    """What searches spent, of one kind: epochs or seconds."""

    median: float
    mean: float
    error: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Cost:
        """Of one search each; `error` is the standard error of the mean."""
        return cls(
            float(np.median(values)), float(np.mean(values)), float(np.std(values, ddof=1)) / math.sqrt(len(values))
        )


def at_random(landscape: Landscape, slots: int) -> tuple[Cost, Cost]:
    """Epochs and seconds of random search."""
    spent = [spend(landscape, AtRandom(landscape, seed), WholeTrials(), slots) for seed in range(ORDERS)]
    epochs = counted(landscape) if slots == 1 else Cost.of([one.epochs for one in spent])
    return epochs, Cost.of([one.seconds for one in spent])


def counted(landscape: Landscape) -> Cost:
    """Epochs of random search on one slot, over all orders of the grid."""
    found = [
        next(epoch for epoch, value in enumerate(curve.best, start=1) if value >= landscape.target)
        for curve in landscape.curves.values()
        if curve.best[-1] >= landscape.target
    ]
    count, best = len(landscape.curves), len(found)
    chances: dict[int, float] = {}
    for before in range(count - best + 1):
        chance = math.comb(count - before - 1, best - 1) / math.comb(count, best) / best
        for epoch in found:
            spent = before * landscape.epochs + epoch
            chances[spent] = chances.get(spent, 0.0) + chance
    spent_by_chance = sorted(chances)
    upto = np.cumsum([chances[spent] for spent in spent_by_chance])
    mean = math.fsum(spent * chance for spent, chance in chances.items())
    return Cost(spent_by_chance[int(np.searchsorted(upto, 0.5))], mean, 0.0)


def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    seeds = range(parser.parse_args(argv).seeds)
    optuna.logging.set_verbosity(logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    rows: list[dict[str, str | float]] = []
    for landscape in landscapes():
        for slots in SLOTS:
            costs = {"random": at_random(landscape, slots)}
            for name, (draws, rule) in SEARCHES.items():
                spent = [spend(landscape, draws(landscape, seed), rule(landscape), slots) for seed in seeds]
                costs[name] = Cost.of([one.epochs for one in spent]), Cost.of([one.seconds for one in spent])
                print(landscape.name, slots, name, *costs[name], file=sys.stderr)
            rows += [_row(landscape, slots, name, costs) for name in costs]
    print(machine())
    print(table(rows))
    print(table([_overall(name, rows) for name in SEARCHES]))


def _row(landscape: Landscape, slots: int, name: str, costs: dict[str, tuple[Cost, Cost]]) -> dict[str, str | float]:
    before = next(iter(SEARCHES))
    row: dict[str, str | float] = {"grid": landscape.name, "slots": slots, "search": name}
    for kind, cost, random, earlier in zip(
        ("epochs", "seconds"), costs[name], costs["random"], costs[before], strict=True
    ):
        row[kind] = cost.median
        row[f"mean {kind}"] = f"{cost.mean:.3g} ± {cost.error:.2g}"
        row[f"{kind}, of random"] = cost.median / random.median
        row[f"{kind}, of before"] = cost.median / earlier.median
    return row


def _overall(name: str, rows: Sequence[dict[str, str | float]]) -> dict[str, str | float]:
    """Geometric means over grids and slots."""
    own = [row for row in rows if row["search"] == name]
    ratios = [key for key in own[0] if ", of " in key]
    return {"search": name} | {
        key: math.exp(math.fsum(math.log(float(row[key])) for row in own) / len(own)) for key in ratios
    }


if __name__ == "__main__":
    main()
