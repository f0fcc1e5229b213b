"""The search benchmark: what is counted is what happens, and a search ends at the first of the best."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.draws import AtRandom, Suggested
from benchmarks.grid import Curve
from benchmarks.landscapes import Landscape, crossing
from benchmarks.search import Cost, counted
from benchmarks.simulator import Promotion, Spent, WholeTrials, spend

#: Ten configurations of two epochs, of which the last alone reaches the target, after its first.
SMALL = Landscape(
    "small",
    {"architecture": ("one",), "lr": tuple(range(10))},
    {("one", rate): Curve((0.9, 0.9) if rate == 9 else (0.1, 0.2), 3.0) for rate in range(10)},
    ("one", 4),
    {"one": 1.0},
)


class InOrder:
    """Configurations as they stand in the grid."""

    def __init__(self, landscape: Landscape) -> None:
        self._left = list(landscape.curves)

    def draw(self) -> tuple[object, ...] | None:
        return self._left.pop(0) if self._left else None

    def tell(self, point: tuple[object, ...], value: float) -> None:
        pass


@pytest.mark.parametrize(("slots", "spent"), [(1, Spent(19, 57.0)), (2, Spent(18, 54.0)), (3, Spent(19, 63.0))])
def test_all_slots_work_and_all_is_charged(slots: int, spent: Spent) -> None:
    assert spend(SMALL, InOrder(SMALL), WholeTrials(), slots) == spent


def test_what_is_never_found_costs_the_whole_grid() -> None:
    class Nothing(WholeTrials):
        def reach(self, point: tuple[object, ...], epoch: int, value: float) -> bool:
            return False

    low = {point: Curve((0.1, 0.2 + 0.1 * (point[1] == 9)), 3.0) for point in SMALL.curves}
    hidden = Landscape("hidden", SMALL.axes, low, SMALL.house, SMALL.costs)
    assert spend(hidden, InOrder(hidden), Nothing(), 1) == Spent(20, 60.0)


def test_random_search_is_counted_as_it_happens() -> None:
    spent = [spend(SMALL, AtRandom(SMALL, seed), WholeTrials(), 1).epochs for seed in range(2000)]
    exact = counted(SMALL)
    assert (exact.median, exact.mean) == (9, 10.0)  # each place is as likely: 1, 3 ... 19 epochs
    assert abs(np.mean(spent) - exact.mean) < 4 * Cost.of(spent).error


def test_the_sampler_draws_each_configuration_once_and_the_house_first() -> None:
    draws = Suggested(SMALL, seed=0)
    drawn = []
    while (point := draws.draw()) is not None:
        drawn.append(point)
        draws.tell(point, 0.5)
        draws.tell(point, 0.6)  # it went on
    assert drawn[0] == SMALL.house
    assert sorted(drawn) == sorted(SMALL.curves)


def test_a_search_with_promotion_ends_at_the_target() -> None:
    assert spend(SMALL, Suggested(SMALL, seed=0), Promotion(SMALL), 2).epochs <= 20


def test_a_made_landscape_is_the_same_each_time() -> None:
    assert crossing("made", 9, seed=3) == crossing("made", 9, seed=3)
