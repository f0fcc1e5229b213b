"""Whose fault it is that a host dies: not its trial's, but for one that takes down host after host."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import ray

from orchestrator.tuning.callback import SearchCallback
from orchestrator.tuning.failures import DEATHS
from orchestrator.tuning.identity import Identity
from orchestrator.tuning.ledger import Ledger
from tests.support.search_runs import search_run
from tests.support.working_copies import CONFIG


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    made = Ledger(tmp_path)
    made.launch(Identity(id="x"), 0)
    made.add("asked", "a", number=1, study_number=0, config=CONFIG)
    return made


@pytest.fixture
def trial(tmp_path: Path) -> Any:
    """A trial whose host has died."""
    error = ray.exceptions.RayActorError(error_msg="The actor died because its node has died.")
    (tmp_path / "error.pkl").write_bytes(ray.cloudpickle.dumps(error))
    (tmp_path / "error.txt").write_text("The actor died because its node has died.\n")
    files = {"error_file": str(tmp_path / "error.txt"), "pickled_error_file": str(tmp_path / "error.pkl")}
    return SimpleNamespace(trial_id="a", run_metadata=SimpleNamespace(num_failures=0), **files)


@pytest.fixture
def callback(ledger: Ledger) -> SearchCallback:
    nobody = cast(Any, None)
    return SearchCallback(search_run(ledger), nobody, nobody)


def dies(trial: Any, callback: SearchCallback, times: int) -> None:
    for _ in range(times):
        trial.run_metadata.num_failures += 1  # as Tune does
        callback.on_trial_recover(0, [], trial)


def test_who_has_no_epoch_between_deaths_is_to_blame_at_last(trial: Any, callback: SearchCallback) -> None:
    dies(trial, callback, DEATHS)
    assert trial.run_metadata.num_failures == 0
    dies(trial, callback, 2)
    assert trial.run_metadata.num_failures == 2


def test_each_epoch_shows_that_hosts_outlive_it(ledger: Ledger, trial: Any, callback: SearchCallback) -> None:
    for epoch in range(1, 4):
        ledger.add("result", "a", epoch=epoch, metrics={}, ending="")
        dies(trial, callback, DEATHS)
    assert trial.run_metadata.num_failures == 0
