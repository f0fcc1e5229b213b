"""The tracker against real stores: each point once, one run a trial, nothing lost, nothing left RUNNING."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from orchestrator import tracking, writer
from orchestrator.store import TrackingError, open_store, tracking_uri
from orchestrator.tracking import Tracker, flat

TAGS = {"task": "seg", "architecture": "unet", "data_fingerprint": "f1", "primary": "dice"}


def begin(uri: str, search: str = "first look", experiment: str = "seg") -> Tracker:
    tracker = Tracker(uri, experiment)
    tracker.start_search(search, {"trials": 2, "seed": 0}, {"task": "seg"})
    return tracker


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


def test_settings_become_flat_parameters() -> None:
    nested = {"loss": {"name": "dice+bce", "weights": [0.5, 0.5]}, "lr": 0.001, "encoder": None, "note": "x" * 9000}
    got = flat(nested)
    assert got.pop("note") == "x" * 6000
    assert got == {"loss.name": "dice+bce", "loss.weights": "0.5, 0.5", "lr": "0.001", "encoder": "None"}


def test_tracking_uri_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_uri() == f"sqlite:///{tmp_path}/mlflow.db"
    assert tracking_uri("sqlite:///some folder/a.db") == f"sqlite:///{tmp_path}/some folder/a.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://host:5000")
    assert tracking_uri() == "http://host:5000"
    with pytest.raises(TrackingError, match=r"sqlite:///.*a\.db"):
        tracking_uri("a.db")


def test_a_store_that_cannot_be_used_is_one_line_at_once(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("not a database " * 100)
    other = tmp_path / "optuna.db"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE studies (id)")
    started = time.monotonic()
    for uri, expected in {
        f"sqlite:///{text}": "not a database",
        f"sqlite:///{text}/mlflow.db": str(text),
        f"sqlite:///{other}": "holds no MLflow store",
        f"http://127.0.0.1:{free_port()}": "no MLflow store answers",
        "carrier-pigeon://loft": "no MLflow store answers",
    }.items():
        with pytest.raises(TrackingError, match=expected) as caught:
            Tracker(uri, "seg")
        assert "\n" not in str(caught.value)
        assert "--tracking-uri" in str(caught.value)
    assert time.monotonic() - started < 10
    with sqlite3.connect(other) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("studies",)]


def test_looking_creates_nothing(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match="no tracking store at"):
        open_store(f"sqlite:///{tmp_path}/mlflow.db", create=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_creating_a_store_is_silent_and_safe_for_two_searches_at_once(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/a folder/mlflow.db"
    script = (
        f"from orchestrator.tracking import Tracker; t = Tracker({uri!r}, 'seg');"
        "t.start_search(SEARCH, {}, {}); t.close()"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script.replace("SEARCH", repr(name))],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for name in ("one", "two")
    ]
    assert [(process.communicate(timeout=120)[0], process.returncode) for process in processes] == [("", 0), ("", 0)]
    assert {run.info.run_name for run in runs(uri)} == {"one", "two"}


@pytest.mark.slow
def test_a_search_as_the_ui_shows_it(store: str, tmp_path: Path) -> None:
    picture = tmp_path / "a picture.png"
    picture.write_bytes(b"png")
    tracker = begin(store)
    run_id = tracker.start_trial("t1", "unet #1", {"loss": {"name": "dice"}, "epochs": 3}, TAGS)
    for epoch, dice in enumerate([0.5, 0.8, 0.3], start=1):
        best = max([0.5, 0.8, 0.3][:epoch])
        tracker.log("t1", {"val/dice": dice, "best/dice": best, "val/hd95": float("nan"), "lr": float("inf")}, epoch)
    tracker.log_picture("t1", picture, "pictures")
    tracker.end_trial("t1", "FINISHED", {"stopped": "completed"})
    tracker.end_search("FINISHED", {"best/dice": 0.8}, {"best_trial": "t1"})
    lag = tracker.close()

    parent, trial = runs(store)
    assert trial.info.run_id == run_id == tracker.run_id("t1")
    assert (parent.info.run_name, parent.info.status, parent.data.tags["kind"]) == ("first look", "FINISHED", "search")
    assert parent.data.params == {"trials": "2", "seed": "0"}
    assert parent.data.metrics == {"best/dice": 0.8}
    assert (trial.info.run_name, trial.info.status, trial.data.tags["stopped"]) == ("unet #1", "FINISHED", "completed")
    assert trial.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert {key: trial.data.tags[key] for key in ("kind", "search", "trial_id")} == {
        "kind": "trial",
        "search": "first look",
        "trial_id": "t1",
    }
    assert trial.data.params == {"loss.name": "dice", "epochs": "3"}
    assert trial.data.metrics == {"val/dice": 0.3, "best/dice": 0.8, "epoch": 3.0}
    assert points(store, run_id, "val/dice") == [(1, 0.5), (2, 0.8), (3, 0.3)]
    assert 0 < lag < 10
    copied = list(Path(database(store)).parent.glob("mlartifacts/*/artifacts/pictures/a picture.png"))
    assert len(copied) == 1
    assert [item.path for item in MlflowClient(store).list_artifacts(run_id, "pictures")] == ["pictures/a picture.png"]


@pytest.mark.slow
def test_each_point_is_stored_once_also_after_a_restart(store: str) -> None:
    first = begin(store)
    run_id = first.start_trial("t1", "unet #1", {"lr": 0.1}, TAGS)
    for epoch in (1, 2, 2, 1, 3):
        first.log("t1", {"val/dice": epoch / 10}, epoch)
    first.log("t1", {"val/iou": 0.2}, 3)  # another metric of the same step is another point
    first.close()

    second = begin(store)
    assert second.start_trial("t1", "unet #1", {"lr": 0.1}, TAGS) == run_id
    for epoch in (2, 3, 4):  # resumed from the checkpoint of epoch 1
        second.log("t1", {"val/dice": epoch / 10}, epoch)
    second.end_trial("t1", "FINISHED", {})
    second.end_search("FINISHED", {"best/dice": 0.4}, {})
    second.close()

    assert points(store, run_id, "val/dice") == [(1, 0.1), (2, 0.2), (3, 0.3), (4, 0.4)]
    assert points(store, run_id, "val/iou") == [(3, 0.2)]
    assert [run.info.status for run in runs(store)] == ["FINISHED", "FINISHED"]


@pytest.mark.slow
def test_a_trial_is_one_run_and_a_name_is_one_search(store: str) -> None:
    first, second = begin(store), begin(store)
    ids = {tracker.start_trial("t1", "unet #1", {"lr": rate}, TAGS) for tracker, rate in ((first, 0.1), (second, 0.2))}
    ids.add(first.start_trial("t1", "unet #1", {"lr": 0.3}, TAGS))  # Tune starts it again after a failure
    first.log("t1", {"val/dice": 0.5}, 1)
    first.close()
    second.close()
    other = begin(store, search="second look")
    other_id = other.start_trial("t1", "unet #1", {}, TAGS)
    other.close()

    assert len(ids) == 1
    assert [run.info.run_id for run in trials(store)] == [*ids, other_id]
    assert trials(store)[0].data.params == {"lr": "0.1"}, "parameters stay those of the first launch"
    assert trials(store)[0].data.metrics["val/dice"] == 0.5
    assert len(runs(store)) == 4


@pytest.mark.slow
def test_nothing_is_left_running_after_close(store: str) -> None:
    crashed = begin(store, search="it's mine")
    crashed.start_trial("t1", "unet #1", {}, TAGS)
    time.sleep(0.1)  # a killed driver: neither end nor close
    other = begin(store, search="second look")
    tracker = begin(store, search="it's mine")
    tracker.start_trial("t2", "unet #2", {}, TAGS)
    tracker.start_trial("t3", "unet #3", {}, TAGS)
    tracker.end_trial("t3", "FAILED", {"stopped": "error"})
    tracker.close()

    status = {run.info.run_name: run.info.status for run in runs(store)}
    assert status.pop("second look") == "RUNNING", "another search's runs are not ours to close"
    assert status == {"it's mine": "KILLED", "unet #1": "KILLED", "unet #2": "KILLED", "unet #3": "FAILED"}
    assert all(run.info.end_time for run in trials(store))
    other.close()


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
        started = time.perf_counter()
        assert tracker.start_trial("t2", "unet #2", {}, TAGS) == ""
        assert time.perf_counter() - started < 2 * tracking.CREATE_WAIT
        time.sleep(0.5)
    assert sorted(calls)[50] < 1e-3
    tracker.end_trial("t1", "FINISHED", {})
    assert tracker.close() > 2, "the lag says how long the store was away"

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
    monkeypatch.setattr(tracking, "PATIENCE", 1.0)
    (Path(database(store)).parent / "mlartifacts").write_text("a file where the folder should be")
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"png")
    tracker = begin(store)
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
    monkeypatch.setattr(tracking, "PATIENCE", 1.0)
    monkeypatch.setattr(writer, "WARN_AFTER", 0.2)

    def down(*args: object, **kwargs: object) -> None:
        raise ConnectionError("connection refused")

    with caplog.at_level(logging.WARNING):
        monkeypatch.setattr(MlflowClient, "search_runs", down)
        started = time.monotonic()
        assert [tracker.start_trial(f"t{i}", f"unet #{i}", {}, TAGS) for i in range(20)] == [""] * 20
        assert time.monotonic() - started < 2 * tracking.CREATE_WAIT, "an outage is waited for once, not per trial"
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


@pytest.mark.slow
def test_a_deleted_experiment_says_what_to_do(store: str) -> None:
    tracker = begin(store, experiment="seg")
    tracker.close()
    MlflowClient(store).delete_experiment(tracker.experiment_id)
    with pytest.raises(TrackingError, match="mlflow experiments restore --experiment-id"):
        Tracker(store, "seg")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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
        ids.add(tracker.start_trial("t1", "unet #1", {"lr": 0.1}, TAGS))
        threads = [
            threading.Thread(target=tracker.log, args=("t1", {"val/dice": 0.5, "best/dice": 0.5}, 1)) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        tracker.log_picture("t1", picture, "pictures")
        tracker.close()
    ids.discard("")
    (trial,) = trials(server)
    run_id = trial.info.run_id
    assert ids == {run_id}
    assert {run.info.status for run in runs(server)} == {"KILLED"}
    assert points(server, run_id, "val/dice") == [(1, 0.5)]
    assert [item.path for item in MlflowClient(server).list_artifacts(run_id, "pictures")] == ["pictures/picture.png"]
    assert capfd.readouterr() == ("", "")
