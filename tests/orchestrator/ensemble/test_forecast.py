"""How long an ensemble takes, where what everything costs is known."""

from __future__ import annotations

import pytest

from orchestrator.ensemble.forecast import Cost, Scale, ensemble_seconds, finish_seconds, folds_at_once, makespan

BUSI = Scale(images=500, test=125, folds=5, compared=4, slots=2, masks=True)


def test_trainings_begin_where_a_slot_is_free() -> None:
    assert makespan([3, 1, 1, 1], 2) == 3
    assert makespan([1, 1, 1, 3], 2) == 4
    assert makespan([], 2) == 0


def test_slots_do_not_stand_idle_between_the_folds_of_a_race() -> None:
    assert folds_at_once(4, 4, 2, race=True) == 1
    assert folds_at_once(4, 4, 8, race=True) == 2
    assert folds_at_once(2, 4, 2, race=True) == 4, "of two none can go"
    assert folds_at_once(4, 4, 2, race=False) == 4


@pytest.mark.parametrize(("left", "compared", "race"), [([4, 2], 2, True), ([4, 4], 2, True), ([4] * 4, 4, False)])
def test_the_forecast_is_right_within_half_of_what_it_takes(left: list[int], compared: int, race: bool) -> None:
    scale = BUSI._replace(compared=compared)
    costs = [Cost(20, 30.0), Cost(20, 15.0), Cost(10, 40.0), Cost(15, 20.0)]
    folds = sum(makespan([cost.seconds for cost in costs[:racing]], 2) for racing in left)
    boosts = sum(makespan([cost.seconds / 2] * (compared + 1), 2) for cost in costs[:2])
    takes = folds + boosts + finish_seconds(costs, scale)
    assert takes / 1.5 < ensemble_seconds(costs, 2, scale, race=race) < takes * 1.5


def test_what_is_trained_and_what_is_bounded_cost_no_more() -> None:
    costs, scale = [Cost(10, 10.0)] * 2, BUSI._replace(compared=2)
    whole = ensemble_seconds(costs, 0, scale)
    assert whole - ensemble_seconds(costs, 0, scale, trained=[(0, 1), (1, 1)]) == 100
    assert ensemble_seconds(costs, 1, scale, longest_round=40) - whole == 40
    assert ensemble_seconds(costs, 1, scale, boost_epochs=3) - whole == 60


def test_without_compared_folds_nothing_is_trained() -> None:
    costs, scale = [Cost(10, 10.0)] * 2, BUSI._replace(compared=0)
    assert ensemble_seconds(costs, 2, scale) < makespan([100], 1)
