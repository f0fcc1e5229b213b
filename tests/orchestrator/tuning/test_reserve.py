"""What a search leaves of a time budget follows from what its trials take."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from orchestrator.tuning.budget import Budget
from orchestrator.tuning.identity import Identity
from orchestrator.tuning.ledger import Ledger
from orchestrator.tuning.reserve import CLOSING, MOST, NOTHING, PICTURES, UNKNOWN, Forecast, Reserve

CONFIG = {"architecture": "unet", "encoder": "", "recipe": "", "epochs": 10}


def _four_folds(trainings: Sequence[tuple[int, float]], slots: int) -> float:
    return 4 * sum(epochs * seconds for epochs, seconds in trainings) / slots


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    begun = Ledger(tmp_path)
    begun.launch(Identity(task="seg"), 0)
    return begun


def _trial(ledger: Ledger, name: str, value: float, *, epochs: int, best: int, seconds: float, state: str = "") -> None:
    ledger.add("asked", name, number=len(ledger.trials) + 1, study_number=len(ledger.trials), config=CONFIG)
    ledger.add("started", name)
    metrics = {"best/dice": value, "best/epoch": best, "train_seconds": seconds}
    ledger.add("result", name, epoch=epochs, metrics=metrics)
    if state:
        ledger.add("ended", name, state=state, reason="")


def _reserve(ledger: Ledger, **changed: Any) -> Reserve:
    given: dict[str, Any] = {"budget": 1000.0, "before": 0.0, "slots": 2, "trials": 9, "usual": None}
    return Reserve(ledger, "best/dice", forecast=Forecast(2, _four_folds), **{**given, **changed})


def test_before_the_first_epoch_it_follows_from_the_usual_trial(ledger: Ledger) -> None:
    assert _reserve(ledger, usual=(10, 2.0))() == CLOSING + 4 * (20 + 20) / 2


def test_where_nothing_is_known_a_share_is_kept(ledger: Ledger) -> None:
    assert _reserve(ledger)() == UNKNOWN * 1000


def test_later_it_follows_from_those_that_would_be_candidates_by_now(ledger: Ledger) -> None:
    _trial(ledger, "worst", 0.2, epochs=10, best=10, seconds=900, state="completed")
    _trial(ledger, "best", 0.8, epochs=10, best=5, seconds=100, state="completed")  # 50 s until its best epoch
    _trial(ledger, "second", 0.7, epochs=3, best=3, seconds=12, state="completed")
    assert _reserve(ledger).after() == CLOSING + 3 * PICTURES / 2 + 4 * (50 + 12) / 2


def test_running_trials_end_their_epoch_and_what_came_before_counts(ledger: Ledger) -> None:
    _trial(ledger, "running", 0.5, epochs=4, best=4, seconds=40)
    reserve = _reserve(ledger, before=7.0)
    assert reserve() == 7 + reserve.after() + 10


def test_no_more_than_its_share_is_kept(ledger: Ledger) -> None:
    assert _reserve(ledger, usual=(10, 1e5))() == MOST * 1000


def test_fewer_trials_are_fewer_candidates(ledger: Ledger) -> None:
    assert _reserve(ledger, usual=(10, 2.0), trials=1)() == CLOSING + 4 * 20 / 2


def test_without_an_ensemble_pictures_alone_are_left_time_for(ledger: Ledger) -> None:
    _trial(ledger, "one", 0.5, epochs=4, best=4, seconds=40, state="completed")
    assert Reserve(ledger, "best/dice", 1000, 0, 2, NOTHING, 9)() == CLOSING + PICTURES / 2


def test_the_search_is_over_where_what_follows_would_not_fit(ledger: Ledger) -> None:
    budget = Budget(ledger, 100, None, 0, _reserve(ledger, budget=100.0, usual=(10, 1e5)))
    left = budget.left()
    assert left is not None
    assert 49 < left <= 50
    late = Budget(ledger, 90, None, 0, lambda: 90)
    assert late.over()
    assert late.why() == "the time budget is spent: 90 s, 0 s of it on the search"
