"""What Tune tries next: suggestions that follow from the seed, who is promoted, a study that agrees with the ledger."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from ray import tune

from benchmarks.surrogate import Surrogate, quality
from orchestrator.common.errors import UserError
from orchestrator.storage.storage import Storage
from orchestrator.tuning.identity import Identity
from orchestrator.tuning.ledger import Ledger
from orchestrator.tuning.rungs import Rungs
from orchestrator.tuning.scheduler import Asha
from orchestrator.tuning.searcher import StudySearch, open_study
from tests.support.search_runs import search_run

METRIC = "best/dice"
EPOCHS = 10
FIRST = [{"architecture": "fpn", "lr": 1e-3}, {"architecture": "unet", "lr": 1e-2}]


def _space(trial: optuna.Trial) -> dict[str, Any]:
    return {
        "architecture": trial.suggest_categorical("architecture", ("unet", "fpn")),
        "encoder": "",
        "recipe": "",
        "lr": trial.suggest_float("lr", 1e-5, 1e-1, log=True),
        "epochs": EPOCHS,
    }


@pytest.fixture(autouse=True, scope="module")
def _registered() -> None:
    tune.register_trainable("surrogate", Surrogate)


class KilledError(Exception):
    """Stands for the end of the process."""


class MortalLedger(Ledger):
    """Of a process that is killed after so many events."""

    events = 10**6

    def add(self, event: str, trial: str = "", **values: Any) -> None:
        super().add(event, trial, **values)
        self.events -= 1
        if not self.events:
            raise KilledError


class Launch:
    """A launch of a search whose trials end at once, or train as fast as they report."""

    def __init__(self, folder: Path, trials: int, slots: int = 1, seed: int = 0, space: Any = _space) -> None:
        self.ledger = MortalLedger(folder)
        self.ledger.launch(Identity(), 0)
        self.ledger.settle(Storage(folder))
        self.study = open_study(folder, "s")
        run = search_run(self.ledger, space, FIRST, trials, seed=seed)
        self.budget = run.budget
        rungs = Rungs(EPOCHS)
        self.scheduler = Asha(rungs, METRIC)
        assert not self.scheduler.replay(self.ledger.history, self.ledger.trials)
        self.searcher = StudySearch(run, self.study, rungs, lambda: slots)
        self.searcher.add_configurations(tune.Experiment("1", "surrogate", storage_path=str(folder)))

    def start(self) -> Any:
        trial = self.searcher.next_trial()
        if trial:
            self.ledger.add("started", trial.trial_id)
        return trial

    def end(self, trial: Any, state: str = "completed", value: float | None = None) -> None:
        if state == "failed":
            self.searcher.on_trial_complete(trial.trial_id, error=True)
        else:
            result = {METRIC: quality(trial.config) if value is None else value}
            self.ledger.add("result", trial.trial_id, epoch=EPOCHS, metrics=result, ending=state)
            self.searcher.on_trial_complete(trial.trial_id, result=result)
        self.ledger.add("ended", trial.trial_id, state=state, reason="")

    def run(self) -> None:
        while trial := self.start():
            self.end(trial)

    def train(self, trial: Any, until: int = EPOCHS) -> None:
        """A checkpoint every second epoch and at the end; as Tune, the scheduler and the callback have it."""
        record, ending = self.ledger.trials[trial.trial_id], ""
        for epoch in range(record.checkpoint_epoch + 1, until + 1):
            result = {METRIC: quality(trial.config) * (1 - math.exp(-epoch / 3)), "best/epoch": epoch}
            decision = self.scheduler.on_trial_result(None, trial, {**result, "training_iteration": epoch})
            ending = "completed" if epoch == EPOCHS else "asha" if decision == Asha.STOP else ""
            self.ledger.add("result", trial.trial_id, epoch=epoch, metrics=result, ending=ending)
            if ending or epoch % 2 == 0:
                folder = self.ledger.folder / f"checkpoint_{trial.trial_id}_{epoch}"
                folder.mkdir(exist_ok=True)
                (folder / "training.pt").write_text("state")
                self.ledger.add("checkpoint", trial.trial_id, path=folder.name, epoch=epoch)
            if ending:
                self.searcher.on_trial_complete(trial.trial_id, result=result)
                self.ledger.add("ended", trial.trial_id, state=ending, reason="")
                return

    def found(self) -> list[tuple[Any, ...]]:
        """What was tried and what came of it, then what the study was told."""
        rows = [(r.number, r.config, r.epoch, r.state, r.result[METRIC]) for r in self.ledger.trials.values()]
        told = [trial for trial in self.study.trials if trial.state == TrialState.COMPLETE]
        return [*rows, *((trial.params, trial.value) for trial in told)]

    def configs(self) -> list[dict[str, Any]]:
        return [record.config for record in self.ledger.trials.values()]


def test_first_points_come_first_then_the_sampler(tmp_path: Path) -> None:
    launch = Launch(tmp_path, trials=15)
    launch.run()
    assert launch.searcher.is_finished()
    assert launch.configs()[:2] == [{**point, "encoder": "", "recipe": "", "epochs": EPOCHS} for point in FIRST]
    assert len({config["lr"] for config in launch.configs()}) == 15
    values = [trial.value for trial in launch.study.trials]
    assert values == [quality(config) for config in launch.configs()]


def test_no_more_at_a_time_than_slots(tmp_path: Path) -> None:
    launch = Launch(tmp_path, trials=5, slots=2)
    one, _two = launch.start(), launch.start()
    assert launch.start() is None
    assert not launch.searcher.is_finished()
    launch.end(one)
    assert launch.start() is not None


@pytest.mark.parametrize("events", [6, 7, 11, 29])
def test_a_search_that_is_killed_again_and_again_decides_as_another_does(tmp_path: Path, events: int) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    whole = Launch(tmp_path / "whole", trials=14)
    while trial := whole.start():
        whole.train(trial)
    assert whole.searcher.is_finished()
    states = [record.state for record in whole.ledger.trials.values()]
    assert 1 <= states.count("completed") < 5
    assert "promoted" in {event.event for event in Ledger(tmp_path / "whole", hold=False).history}
    while True:
        part = Launch(tmp_path / "parts", trials=14)
        part.ledger.events = events
        try:
            while trial := part.start():
                part.train(trial)
            break
        except KilledError:
            part.study.enqueue_trial(FIRST[0])  # as if the process died between the two steps of asking
            part.study.ask()
            part.ledger.close()
    assert part.ledger.launches > 3
    assert part.found() == whole.found()


def test_no_slot_stays_free_for_what_others_may_come_to_and_none_to_start_is_no_end(tmp_path: Path) -> None:
    launch = Launch(tmp_path, trials=2, slots=2)
    one, two = launch.start(), launch.start()
    while one:  # the other takes long, and no new trial is left
        launch.train(one)
        one = launch.start()
    assert not launch.searcher.is_finished()
    assert [record.state for record in launch.ledger.trials.values()] == ["completed", "running"]
    launch.train(two)
    assert launch.start() is None
    assert launch.searcher.is_finished()
    assert [record.state for record in launch.ledger.trials.values()] == ["completed", "asha"]


def test_of_those_that_wait_at_the_end_one_goes_on_and_the_others_have_ended(tmp_path: Path) -> None:
    launch = Launch(tmp_path, trials=2)
    while trial := launch.start():
        launch.train(trial)
    assert launch.searcher.is_finished()
    assert sorted((r.state, r.epoch) for r in launch.ledger.trials.values()) == [("asha", 2), ("completed", EPOCHS)]
    assert not launch.ledger.unfinished()


def test_a_trial_that_was_promoted_and_not_started_starts_first_and_is_no_less_till_then(tmp_path: Path) -> None:
    first = Launch(tmp_path, trials=3)
    for _ in range(3):
        first.train(first.start())
    promoted = first.searcher.next_trial()  # and no worker comes up for it
    first.ledger.close()
    second = Launch(tmp_path, trials=9)
    assert second.ledger.trials[promoted.trial_id].state == "asha"
    assert second.start().trial_id == promoted.trial_id


def test_a_trial_whose_checkpoint_is_lost_while_it_waits_begins_anew(tmp_path: Path) -> None:
    launch = Launch(tmp_path, trials=2)
    for _ in range(2):
        launch.train(launch.start())
    for file in tmp_path.rglob("training.pt"):
        file.unlink()
    trial = launch.start()
    assert trial.checkpoint is None
    launch.train(trial)
    assert launch.ledger.trials[trial.trial_id].epoch == 6


def test_more_trials_can_be_asked_for_later(tmp_path: Path) -> None:
    first = Launch(tmp_path, trials=3)
    first.run()
    first.searcher.close()
    first.ledger.close()
    second = Launch(tmp_path, trials=5)
    second.run()
    assert [record.number for record in second.ledger.trials.values()] == [1, 2, 3, 4, 5]


def test_more_trials_may_have_one_promoted_that_waited_at_the_end(tmp_path: Path) -> None:
    first = Launch(tmp_path, trials=5)
    while trial := first.start():
        first.train(trial)
    first.ledger.close()
    second = Launch(tmp_path, trials=14)
    goes_on = []
    while trial := second.start():
        goes_on.append(second.ledger.trials[trial.trial_id].number)
        second.train(trial)
    assert set(goes_on) & {1, 2, 3, 4, 5}
    assert set(goes_on) >= set(range(6, 15))


def test_a_trial_that_failed_is_told_as_the_worst(tmp_path: Path) -> None:
    launch = Launch(tmp_path, trials=2)
    launch.end(launch.start(), "failed")
    launch.end(launch.start())
    launch.searcher.close()
    first = launch.study.trials[0]
    assert (first.state, first.value) == (TrialState.COMPLETE, 0.0)


def test_stopped_by_the_budget_and_gone_on_with_both_values_are_known(tmp_path: Path) -> None:
    first = Launch(tmp_path, trials=1)
    first.end(first.start(), "budget", value=0.3)
    first.searcher.close()
    first.ledger.close()
    second = Launch(tmp_path, trials=1)
    second.end(second.start(), value=0.6)
    assert [trial.value for trial in second.study.trials] == [0.3, 0.6]
    assert second.study.trials[0].params == second.study.trials[1].params


def test_interrupted_nothing_is_left_running(tmp_path: Path) -> None:
    launch = Launch(tmp_path, trials=3)
    launch.start()
    launch.budget.interrupt()
    assert launch.searcher.is_finished()
    assert launch.start() is None
    launch.searcher.close()
    assert {trial.state for trial in launch.study.trials} == {TrialState.FAIL}


def test_a_space_that_is_another_is_refused_in_words(tmp_path: Path) -> None:
    first = Launch(tmp_path, trials=3)
    first.run()
    first.ledger.close()
    other = lambda trial: {"architecture": trial.suggest_categorical("architecture", ("unet", "pan"))}  # noqa: E731
    second = Launch(tmp_path, trials=15, space=other)
    with pytest.raises(UserError, match="the search space is no longer what the study holds"):
        second.run()
