"""ASHA: its rungs, its mercy on the first of each architecture, and rungs that come back."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.tuning.identity import Identity
from orchestrator.tuning.ledger import Ledger
from orchestrator.tuning.scheduler import Asha

METRIC = "best/dice"


class Search:
    """Trials that report to a scheduler and a ledger, as Tune and the callback would have them do."""

    def __init__(self, folder: Path, epochs: int) -> None:
        self.ledger = Ledger(folder)
        self.ledger.launch(Identity(), 0)
        self.asha = Asha(epochs, METRIC)
        self.beaten = self.asha.replay(self.ledger.history, self.ledger.trials)

    def start(self, trial_id: str, architecture: str = "unet") -> None:
        if trial_id not in self.ledger.trials:
            number = len(self.ledger.trials) + 1
            config = {"architecture": architecture}
            self.ledger.add("asked", trial_id, number=number, study_number=number, config=config)
        self.ledger.add("started", trial_id)
        self.asha.on_trial_add(None, self._trial(trial_id))

    def report(self, trial_id: str, epoch: int, value: float, save: bool = True) -> str:
        result = {METRIC: value, "training_iteration": epoch}
        decision = self.asha.on_trial_result(None, self._trial(trial_id), result)
        ending = "asha" if decision == "STOP" else ""
        self.ledger.add("result", trial_id, epoch=epoch, metrics={METRIC: value}, ending=ending)
        if save:
            self.ledger.add("checkpoint", trial_id, path="there", epoch=epoch)
        if ending:
            self.asha.on_trial_complete(None, self._trial(trial_id), result)
            self.ledger.add("ended", trial_id, state="asha", reason="")
        return decision

    def rungs(self) -> list[tuple[int, dict[str, float]]]:
        return [(milestone, dict(recorded)) for milestone, recorded in self.asha._brackets[0]._rungs]

    def _trial(self, trial_id: str) -> Any:
        return SimpleNamespace(trial_id=trial_id, config=self.ledger.trials[trial_id].config)


@pytest.mark.parametrize(("epochs", "rungs"), [(1, [1]), (2, [2]), (9, [6, 2]), (12, [9, 3]), (30, [18, 6])])
def test_rungs_follow_from_the_epochs(tmp_path: Path, epochs: int, rungs: list[int]) -> None:
    assert [milestone for milestone, _ in Search(tmp_path, epochs).rungs()] == rungs


def test_the_first_of_each_architecture_passes_the_first_rung_and_no_other(tmp_path: Path) -> None:
    search = Search(tmp_path, epochs=12)
    for trial_id, value in (("a", 0.9), ("b", 0.8), ("c", 0.7)):
        search.start(trial_id)
        search.report(trial_id, 3, value)
    search.start("first fpn", "fpn")
    assert search.report("first fpn", 3, 0.1) == "CONTINUE"
    search.start("second fpn", "fpn")
    assert search.report("second fpn", 3, 0.2) == "STOP"
    search.report("a", 9, 0.9)
    assert search.report("first fpn", 8, 0.1) == "CONTINUE"
    assert search.report("first fpn", 9, 0.1) == "STOP"


def test_nothing_outlives_its_epochs(tmp_path: Path) -> None:
    search = Search(tmp_path, epochs=2)
    search.start("a")
    assert search.report("a", 2, 0.9) == "STOP"


def test_rungs_come_back(tmp_path: Path) -> None:
    search = Search(tmp_path, epochs=12)
    for number in range(6):
        search.start(f"t{number}")
        search.report(f"t{number}", 3, 0.5 + number / 10)
    search.start("worse")
    assert search.report("worse", 3, 0.1) == "STOP"
    before = search.rungs()
    search.ledger.close()

    again = Search(tmp_path, epochs=12)
    assert again.rungs() == before
    again.start("worse too")
    assert again.report("worse too", 3, 0.2) == "STOP"
    again.start("better")
    assert again.report("better", 3, 2.0) == "CONTINUE"


def test_what_will_be_reported_again_is_not_in_a_rung_yet(tmp_path: Path) -> None:
    search = Search(tmp_path, epochs=12)
    search.start("a")
    search.report("a", 2, 0.4)
    search.report("a", 3, 0.5, save=False)
    search.ledger.close()

    again = Search(tmp_path, epochs=12)
    assert again.rungs() == [(9, {}), (3, {})]
    again.start("a")
    again.report("a", 3, 0.5)
    assert again.rungs() == [(9, {}), (3, {"a": 0.5})]


def test_what_the_budget_stopped_at_a_rung_is_judged_there(tmp_path: Path) -> None:
    search = Search(tmp_path, epochs=12)
    for trial_id, value in (("a", 0.9), ("b", 0.8), ("c", 0.7)):
        search.start(trial_id)
        search.report(trial_id, 3, value)
    for trial_id, value in (("good", 0.95), ("bad", 0.1)):
        search.start(trial_id)
        search.ledger.add("result", trial_id, epoch=3, metrics={METRIC: value}, ending="budget")
        search.ledger.add("checkpoint", trial_id, path="there", epoch=3)
        search.ledger.add("ended", trial_id, state="budget", reason="")
    search.ledger.close()
    assert Search(tmp_path, epochs=12).beaten == ["bad"]
