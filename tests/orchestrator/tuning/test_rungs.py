"""Rungs: which trials go on, wait, and are promoted."""

from __future__ import annotations

import pytest

from orchestrator.tuning.rungs import Rungs, levels


def _met(count: int) -> Rungs:
    """So many trials of 9 epochs, named by their values, that came to the first rung best first."""
    rungs = Rungs(9)
    for value in reversed(range(count)):
        assert not rungs.reach(str(value), 2, value)
    return rungs


def _promoted(rungs: Rungs, *, last: bool = False) -> list[str | None]:
    return list(iter(lambda: rungs.promote(last=last), None))


@pytest.mark.parametrize(("epochs", "found"), [(1, ()), (2, ()), (9, (2, 6)), (12, (3, 9)), (30, (6, 18))])
def test_rungs_follow_from_the_epochs(epochs: int, found: tuple[int, ...]) -> None:
    assert levels(epochs) == found


@pytest.mark.parametrize(("count", "best"), [(2, []), (3, ["2"]), (9, ["8", "7", "6"])])
def test_the_best_third_goes_on(count: int, best: list[str]) -> None:
    assert _promoted(_met(count)) == best


def test_a_trial_that_is_among_the_best_does_not_wait() -> None:
    rungs = _met(8)
    assert rungs.reach("best", 2, 99.0)
    assert rungs.reach("best", 2, 99.0)  # again, as its checkpoint was lost
    assert rungs.reach("best", 5, 99.0)
    assert not rungs.reach("best", 6, 99.0)
    assert _promoted(rungs) == ["7", "6"]


def test_the_highest_rung_is_served_first() -> None:
    rungs = _met(9)
    for value, trial in enumerate(reversed(_promoted(rungs)), start=-3):
        rungs.reach(str(trial), 6, -value)
    for trial in ("late", "later", "latest"):
        assert not rungs.reach(trial, 2, -1.0)
    assert _promoted(rungs) == ["6", "5"]


def test_where_no_trial_comes_any_more_one_of_each_rung_goes_on() -> None:
    rungs = _met(2)
    assert _promoted(rungs, last=True) == ["1"]
    assert not rungs.reach("1", 6, 1.0)
    assert _promoted(rungs, last=True) == ["1"]
    assert not _promoted(rungs, last=True)


def test_nobody_waits_for_a_trial_that_failed() -> None:
    rungs = _met(9)
    rungs.drop("8")
    rungs.drop("unheard of")
    assert _promoted(rungs) == ["7", "6"]
