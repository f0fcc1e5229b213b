"""A store that is locked, gone, slow or broken: nothing is lost, nobody waits, one real server."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from orchestrator.config.types import TrackingError
from orchestrator.tracking import writer
from orchestrator.tracking.client import open_store
from tests.support.mlflow_runs import TAGS, begin, database, fail_once, free_port, locked, points, runs, trials


@pytest.mark.slow
def test_a_locked_database_delays_nobody_and_loses_nothing(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = begin(store)
    tracker.start_trial("t1", "unet #1", {}, TAGS)
    with locked(store):
        calls = []
        for epoch in range(1, 101):
            started = time.perf_counter()
            tracker.log("t1", {"val/dice": epoch / 100, "train/loss": 1.0}, epoch)
            calls.append(time.perf_counter() - started)
            time.sleep(0.01)
        tracker.start_trial("t2", "unet #2", {}, TAGS)
        assert tracker.run_id("t2") == ""
        time.sleep(1.5)
    assert sorted(calls)[50] < 1e-3
    tracker.end_trial("t1", "FINISHED", {})
    assert tracker.close()
    assert tracker.lag > 2, "it says how long the store was away"

    first, second = trials(store)
    assert points(store, first.info.run_id, "val/dice") == [(epoch, epoch / 100) for epoch in range(1, 101)]
    assert second.info.run_id == tracker.run_id("t2")


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True], ids=["refused", "answer lost"])
@pytest.mark.parametrize("method", ["create_run", "log_batch", "set_terminated"])
def test_a_broken_connection_neither_loses_nor_doubles(
    store: str, monkeypatch: pytest.MonkeyPatch, method: str, after: bool
) -> None:
    tracker = begin(store)
    broken = fail_once(monkeypatch, method, after)
    tracker.start_trial("t1", "unet #1", {"lr": 0.1}, TAGS)
    for epoch in (1, 2, 3):
        tracker.log("t1", {"val/dice": epoch / 10}, epoch)
        time.sleep(0.05)
    tracker.end_trial("t1", "FINISHED", {})
    tracker.close()

    assert broken
    (trial,) = trials(store)
    assert trial.info.status == "FINISHED"
    assert trial.data.params == {"lr": "0.1"}
    assert points(store, trial.info.run_id, "val/dice") == [(1, 0.1), (2, 0.2), (3, 0.3)]


@pytest.mark.slow
def test_one_bad_value_stops_nothing(store: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tracker = begin(store)
    tracker.log("never started", {"val/dice": 0.5}, 1)
    tracker.start_trial("t1", "unet #1", {}, TAGS)
    tracker.log("t1", {"bad;name": 0.5}, 1)
    tracker.log_picture("t1", tmp_path / "absent.png", "pictures")
    while tracker._writer._notes:
        time.sleep(0.05)
    tracker.log("t1", {"val/dice": 0.7}, 2)
    tracker.end_trial("t1", "FINISHED", {})
    tracker.close()

    (trial,) = trials(store)
    assert trial.info.status == "FINISHED"
    assert trial.data.metrics["val/dice"] == 0.7
    assert len(caplog.messages) == 3, caplog.messages
    assert all("\n" not in message for message in caplog.messages)


@pytest.mark.slow
def test_a_failing_artifact_store_holds_up_no_metric(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.tracking.tracker.PATIENCE", 1.0)
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"png")
    tracker = begin(store)
    folder = Path(database(store)).parent / "mlartifacts"
    folder.rmdir()
    folder.write_text("a file where the folder should be")
    tracker.start_trial("t1", "unet #1", {}, TAGS)
    tracker.log_picture("t1", picture, "pictures")
    time.sleep(0.5)
    tracker.log("t1", {"val/dice": 0.7}, 1)
    tracker.end_trial("t1", "FINISHED", {})
    tracker.close()
    (trial,) = trials(store)
    assert (trial.info.status, trial.data.metrics["val/dice"]) == ("FINISHED", 0.7)


@pytest.mark.slow
def test_an_outage_is_told_once_and_closing_does_not_hang(
    store: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tracker = begin(store)
    monkeypatch.setattr("orchestrator.tracking.tracker.PATIENCE", 1.0)
    monkeypatch.setattr(writer, "WARN_AFTER", 0.2)

    def down(*args: object, **kwargs: object) -> None:
        raise ConnectionError("connection refused")

    with caplog.at_level(logging.WARNING):
        monkeypatch.setattr(MlflowClient, "create_run", down)
        started = time.monotonic()
        for i in range(20):
            tracker.start_trial(f"t{i}", f"unet #{i}", {}, TAGS)
        assert time.monotonic() - started < 0.5, "nobody waits for the store"
        time.sleep(1.5)
        tracker.close()
    assert time.monotonic() - started < 15
    told = [message for message in caplog.messages if "does not answer (connection refused)" in message]
    assert len(told) == 2, caplog.messages
    assert "trying on" in told[0]
    assert "20 run(s)" in told[1]


@pytest.mark.slow
def test_a_thousand_points_of_one_run_are_few_batches(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = []
    real = MlflowClient.log_batch

    def counted(*args: Any) -> None:
        batches.append(args)
        real(*args)

    monkeypatch.setattr(MlflowClient, "log_batch", counted)
    tracker = begin(store)
    with locked(store):
        tracker.start_trial("t1", "unet #1", {f"p{i}": i for i in range(150)}, TAGS)
        for epoch in range(1, 301):
            tracker.log("t1", {f"val/m{i}": 0.5 for i in range(8)}, epoch)
    tracker.close()
    (trial,) = trials(store)
    assert len(trial.data.params) == 150
    assert len(points(store, trial.info.run_id, "val/m7")) == 300
    assert len(batches) <= 4


@pytest.fixture
def server(empty_store: Path, tmp_path: Path) -> Iterator[str]:
    """A real `mlflow server` on loopback."""
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    places = [
        "--backend-store-uri",
        f"sqlite:///{tmp_path}/mlflow.db",
        "--artifacts-destination",
        f"{tmp_path}/artifacts",
    ]
    with (tmp_path / "server.log").open("w") as out:
        process = subprocess.Popen([*command, *places], stdout=out, stderr=out, start_new_session=True)
        try:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                try:
                    open_store(address, create=False)
                    break
                except TrackingError:
                    time.sleep(0.3)
            else:
                pytest.skip("mlflow server did not start within 60 s")
            yield address
        finally:
            os.killpg(process.pid, 15)
            process.wait(timeout=20)


@pytest.mark.slow
def test_against_a_real_server(server: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"png")
    ids = set()
    for _launch in range(2):
        tracker = begin(server)
        tracker.start_trial("t1", "unet #1", {"lr": 0.1}, TAGS)
        threads = [
            threading.Thread(target=tracker.log, args=("t1", {"val/dice": 0.5, "best/dice": 0.5}, 1)) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        tracker.log_picture("t1", picture, "pictures")
        tracker.close()
        ids.add(tracker.run_id("t1"))
    (trial,) = trials(server)
    run_id = trial.info.run_id
    assert ids == {run_id}
    assert {run.info.status for run in runs(server)} == {"KILLED"}
    assert points(server, run_id, "val/dice") == [(1, 0.5)]
    assert [item.path for item in MlflowClient(server).list_artifacts(run_id, "pictures")] == ["pictures/picture.png"]
    assert capfd.readouterr() == ("", "")
