"""Opening a store: absolute, silent, safe for two at once, and one line where it cannot be used."""

from __future__ import annotations

import shlex
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from orchestrator.config.types import TrackingError, tracking_uri
from orchestrator.tracking.client import ensure_experiment, open_store
from orchestrator.tracking.tracker import Tracker
from tests.support.mlflow_runs import begin, free_port, runs


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
        f"from orchestrator.tracking.tracker import Tracker; t = Tracker({uri!r}, 'seg');"
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
@pytest.mark.parametrize("way", ["restore", "gc"])
def test_a_deleted_experiment_says_what_to_do_and_that_does_it(store: str, way: str) -> None:
    tracker = begin(store, experiment="seg")
    tracker.close()
    MlflowClient(store).delete_experiment(tracker.experiment_id)
    with pytest.raises(TrackingError, match="choose another with --experiment, or bring it back: ") as caught:
        Tracker(store, "seg")
    advice = str(caught.value).partition("bring it back: ")[2].split("; or delete it for good: ")
    (command,) = [command for command in advice if f" {way} " in command]
    with_this = command.replace("python -m", f"{shlex.quote(sys.executable)} -m")
    subprocess.run(with_this, shell=True, check=True, capture_output=True, timeout=300)
    begin(store, experiment="seg").close()
    assert [run.info.run_id == tracker.run_id("") for run in runs(store)] == [way == "restore"]


def test_an_experiment_that_another_makes_at_the_same_time_is_taken(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = open_store(store, create=True)
    first = client.get_experiment_by_name

    def see_nothing_then_another_is_first(name: str) -> None:
        monkeypatch.setattr(client, "get_experiment_by_name", first)
        MlflowClient(store).create_experiment(name, tmp_path.as_uri())

    monkeypatch.setattr(client, "get_experiment_by_name", see_nothing_then_another_is_first)
    found = ensure_experiment(client, store, "at once", None)
    assert found == first("at once").experiment_id
