"""The scheduler: rungs that decide after a crash as they did before it, and what trials take on average."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from orchestrator.tuning.identity import Identity
from orchestrator.tuning.ledger import Ledger
from orchestrator.tuning.rungs import Rungs
from orchestrator.tuning.scheduler import Asha, mean_epochs

METRIC = "best/dice"
CONFIG = {"architecture": "unet", "encoder": "", "recipe": "", "epochs": 10}


class Search:
    """Trials of 10 epochs that report to a scheduler and a ledger, as Tune and the callback would have them do."""

    def __init__(self, folder: Path) -> None:
        self.ledger = Ledger(folder)
        self.ledger.launch(Identity(), 0)
        self.rungs = Rungs(10)
        self.asha = Asha(self.rungs, METRIC)
        self.waiting = self.asha.replay(self.ledger.history, self.ledger.trials)

    def ask(self, *trial_ids: str) -> None:
        for trial_id in trial_ids:
            number = len(self.ledger.trials) + 1
            self.ledger.add("asked", trial_id, number=number, study_number=number, config=CONFIG)
            self.ledger.add("started", trial_id)

    def report(self, trial_id: str, epoch: int, value: float, *, save: bool = True, ending: str = "") -> bool:
        """Whether it goes on; with an ending the scheduler is not asked."""
        if not ending:
            result = {METRIC: value, "training_iteration": epoch}
            decision = self.asha.on_trial_result(None, SimpleNamespace(trial_id=trial_id), result)
            ending = "asha" if decision == Asha.STOP else ""
        self.ledger.add("result", trial_id, epoch=epoch, metrics={METRIC: value}, ending=ending)
        if save:
            self.ledger.add("checkpoint", trial_id, path="there", epoch=epoch)
            if ending:
                self.ledger.add("ended", trial_id, state=ending, reason="")
        return not ending

    def promote(self, *, last: bool = False) -> str | None:
        if trial_id := self.rungs.promote(last=last):
            self.ledger.add("promoted", trial_id, last=last)
        return trial_id

    def again(self) -> Search:
        """The next launch."""
        self.ledger.close()
        return Search(self.ledger.folder)


@pytest.fixture
def search(tmp_path: Path) -> Search:
    """Three trials that wait at the first rung."""
    made = Search(tmp_path)
    made.ask("a", "b", "c")
    for trial_id, value in (("a", 0.7), ("b", 0.6), ("c", 0.5)):
        assert not made.report(trial_id, 2, value)
    return made


def test_who_was_promoted_is_not_promoted_again_by_the_next_launch(search: Search) -> None:
    again = search.again()
    assert (again.promote(), again.promote()) == ("a", None)
    third = again.again()
    assert third.promote() is None
    assert [record.trial_id for record in third.ledger.unfinished()] == ["a"]


def test_what_goes_on_when_no_trial_will_come_is_known_to_the_next_launch(search: Search) -> None:
    search.promote()
    search.report("a", 6, 0.8)
    assert search.promote(last=True) == "a"
    assert search.again().promote(last=True) is None


def test_a_trial_that_reports_again_what_was_not_saved_passes_once(search: Search) -> None:
    search.ask("better")
    assert search.report("better", 2, 0.9, save=False)
    again = search.again()
    assert again.report("better", 2, 0.9)
    assert again.promote() is None


def test_a_trial_that_failed_takes_nobody_s_place(search: Search) -> None:
    search.ledger.add("ended", "a", state="failed", reason="no")
    again = search.again()
    again.ask("d")
    again.report("d", 2, 0.4)
    assert again.promote() == "b"


@pytest.mark.parametrize(("value", "waits"), [(0.9, []), (0.1, ["d"])])
def test_what_the_budget_stopped_at_a_rung_is_judged_there(search: Search, value: float, waits: list[str]) -> None:
    search.ask("d")
    search.report("d", 2, value, ending="budget")
    assert search.again().waiting == waits


def test_a_trial_that_ended_by_itself_at_a_rung_is_not_promoted_from_it(search: Search) -> None:
    search.ask("d")
    search.report("d", 2, 0.9, ending="early")
    assert search.again().promote() == "a"


@pytest.mark.parametrize(
    ("levels", "trials", "epochs"),
    [((), 5, 12.0), ((2, 6), 9, (9 * 2 + 3 * 4 + 1 * 6) / 9), ((2, 6), 2, (2 * 2 + 4 + 6) / 2)],
)
def test_epochs_of_a_trial_on_average(levels: tuple[int, ...], trials: int, epochs: float) -> None:
    assert mean_epochs(levels, 12, trials) == epochs
