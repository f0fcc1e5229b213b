"""Thousands of runs: what one more costs does not grow with those there are, and their ends have the time they take."""

from __future__ import annotations

import time
from typing import Any

import pytest
from mlflow import MlflowClient

from orchestrator.tracking import writer
from tests.support.mlflow_runs import TAGS, begin, trials


def _end_many(store: str, count: int) -> Any:
    tracker = begin(store)
    for i in range(count):
        tracker.start_trial(f"t{i}", f"#{i} unet", {"lr": 0.1}, TAGS)
        tracker.log(f"t{i}", {"val/dice": 0.5}, 1)
        tracker.end_trial(f"t{i}", "FINISHED", {})
    return tracker


@pytest.mark.slow
def test_runs_of_a_new_search_are_not_looked_for(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    conditions = []
    real = MlflowClient.search_runs

    def search_runs(self: MlflowClient, ids: list[str], condition: str = "", **options: Any) -> Any:
        conditions.append(condition)
        return real(self, ids, condition, **options)

    monkeypatch.setattr(MlflowClient, "search_runs", search_runs)
    assert _end_many(store, 5).close()
    assert len(trials(store)) == 5
    assert not [condition for condition in conditions if "trial_id" in condition]

    conditions.clear()
    tracker = _end_many(store, 6)  # of the same search: it has to look
    assert tracker.close()
    assert len([condition for condition in conditions if "trial_id" in condition]) == 6
    assert len(trials(store)) == 6


@pytest.mark.slow
def test_a_slow_store_is_given_the_time_that_it_takes(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.tracking.tracker.PATIENCE", 2.0)
    monkeypatch.setattr(writer, "CALL", 0.0)
    real = MlflowClient.log_batch

    def log_batch(self: MlflowClient, *args: Any, **options: Any) -> None:
        time.sleep(0.2)
        real(self, *args, **options)

    monkeypatch.setattr(MlflowClient, "log_batch", log_batch)
    assert _end_many(store, 15).close(), "it took longer than its patience, and answered all the time"
    assert {run.info.status for run in trials(store)} == {"FINISHED"}
    assert len(trials(store)) == 15
