"""The Optuna study behind Tune: suggestions that follow from the seed, and a study that agrees with the ledger."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
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
from orchestrator.tuning.searcher import StudySearch, open_study
from tests.support.search_runs import search_run

METRIC = "best/dice"
FIRST = [{"architecture": "fpn", "lr": 1e-3}, {"architecture": "unet", "lr": 1e-2}]


def _space(trial: optuna.Trial) -> dict[str, Any]:
    return {
        "architecture": trial.suggest_categorical("architecture", ("unet", "fpn")),
        "lr": trial.suggest_float("lr", 1e-5, 1e-1, log=True),
        "epochs": 4,
    }


@pytest.fixture(autouse=True, scope="module")
def _registered() -> None:
    tune.register_trainable("surrogate", Surrogate)


class Launch:
    """A launch of a search whose trials end at once."""

    def __init__(self, folder: Path, trials: int, slots: int = 1, seed: int = 0, space: Any = _space) -> None:
        self.ledger = Ledger(folder)
        self.ledger.launch(Identity(), 0)
        self.ledger.settle(Storage(folder))
        self.study = open_study(folder, "s")
        run = search_run(self.ledger, space, FIRST, trials, seed=seed)
        self.budget = run.budget
        self.searcher = StudySearch(run, self.study, lambda: slots)
        self.searcher.add_configurations([SimpleNamespace(spec={"run": "surrogate"})])

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
            self.ledger.add("result", trial.trial_id, epoch=4, metrics=result, ending=state)
            self.searcher.on_trial_complete(trial.trial_id, result=result)
        self.ledger.add("ended", trial.trial_id, state=state, reason="")

    def run(self) -> None:
        while trial := self.start():
            self.end(trial)

    def configs(self) -> list[dict[str, Any]]:
        return [record.config for record in self.ledger.trials.values()]


def test_first_points_come_first_then_the_sampler(tmp_path: Path) -> None:
    launch = Launch(tmp_path, trials=15)
    launch.run()
    assert launch.searcher.is_finished()
    assert launch.configs()[:2] == [{**point, "epochs": 4} for point in FIRST]
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


@pytest.mark.parametrize("stop_after", [0, 1, 2, 7, 13])
def test_a_search_that_is_stopped_suggests_what_another_does(tmp_path: Path, stop_after: int) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    whole = Launch(tmp_path / "whole", trials=15)
    whole.run()
    first = Launch(tmp_path / "parts", trials=15)
    for _ in range(stop_after):
        first.end(first.start())
    asked = first.start()  # and is lost
    first.study.enqueue_trial(FIRST[0])  # as if the process died between the two steps of asking
    first.study.ask()
    first.ledger.close()

    second = Launch(tmp_path / "parts", trials=15)
    goes_on = second.start()
    assert goes_on.trial_id == asked.trial_id
    second.end(goes_on)
    second.run()
    assert second.configs() == whole.configs()
    states = [trial.state for trial in second.study.trials]
    assert states.count(TrialState.COMPLETE) == 15
    assert set(states) == {TrialState.COMPLETE, TrialState.FAIL}


def test_more_trials_can_be_asked_for_later(tmp_path: Path) -> None:
    first = Launch(tmp_path, trials=3)
    first.run()
    first.searcher.close()
    first.ledger.close()
    second = Launch(tmp_path, trials=5)
    second.run()
    assert [record.number for record in second.ledger.trials.values()] == [1, 2, 3, 4, 5]


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
