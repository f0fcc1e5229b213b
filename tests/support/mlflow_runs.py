"""What tests do to MLflow stores, and how they read them."""

from __future__ import annotations

import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from orchestrator.tracking.tracker import Tracker

TAGS = {"task": "seg", "architecture": "unet", "data_fingerprint": "f1", "primary": "dice"}


def begin(uri: str, search: str = "first look", experiment: str = "seg") -> Tracker:
    tracker = Tracker(uri, experiment)
    tracker.start_search(search, {"trials": 2, "seed": 0}, {"task": "seg"})
    return tracker


def wait_for_run(tracker: Tracker, trial_id: str) -> None:
    """Until the store has a run of the trial."""
    deadline = time.monotonic() + 30
    while not tracker.run_id(trial_id):
        assert time.monotonic() < deadline, "no run within 30 s"
        time.sleep(0.05)


def runs(uri: str) -> list[Run]:
    client = MlflowClient(uri)
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    return list(client.search_runs(ids, order_by=["attributes.start_time ASC"]))


def trials(uri: str) -> list[Run]:
    return [run for run in runs(uri) if run.data.tags["kind"] == "trial"]


def points(uri: str, run_id: str, metric: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in MlflowClient(uri).get_metric_history(run_id, metric)]


def database(uri: str) -> str:
    return uri.removeprefix("sqlite:///")


@contextmanager
def locked(uri: str) -> Iterator[None]:
    """Another program that holds the database: nobody else reads or writes."""
    other = sqlite3.connect(database(uri), isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


def fail_once(monkeypatch: pytest.MonkeyPatch, method: str, after: bool) -> list[str]:
    """The connection breaks at the first call of a client's method: before the store acts, or after it has."""
    real: Callable[..., Any] = getattr(MlflowClient, method)
    broken: list[str] = []

    def call(self: MlflowClient, *args: Any, **kwargs: Any) -> Any:
        if not broken and not after:
            broken.append(method)
            raise ConnectionError("connection refused")
        result = real(self, *args, **kwargs)
        if not broken:
            broken.append(method)
            raise ConnectionError("connection reset while waiting for the answer")
        return result

    monkeypatch.setattr(MlflowClient, method, call)
    return broken


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
