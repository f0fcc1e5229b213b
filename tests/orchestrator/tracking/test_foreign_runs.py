"""Runs and models whose tags somebody edited: every reader goes on, and names the one row that it leaves out."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import pytest
from mlflow import MlflowClient

from orchestrator.ensemble.candidates import CandidateReader
from orchestrator.ensemble.promotion import SCORED, Contender, times_scored
from orchestrator.leaderboard import main
from orchestrator.report.registered import registered
from orchestrator.storage.storage import Storage
from orchestrator.tracking import description, registry
from orchestrator.tracking.orphans import close_stale, marks
from orchestrator.tracking.ranking import rank, read_trials
from orchestrator.tracking.tracker import Tracker
from orchestrator.tuning.ledger import Ledger

pytestmark = pytest.mark.slow

DATA = {"task": "seg", "classes": "3", "data_fingerprint": "f1", "data_source": "/data/busi", "synthetic": "false"}
TAGS = {**DATA, "primary": "dice", "prepared_fingerprint": "p1", "git_commit": "c1", "plugin.own": "d1"}
TRIAL = {**TAGS, "architecture": "unet", "encoder": "resnet18", "weights_source": "imagenet"}
MODEL = {**DATA, "digest": "d1", "optimistic": "false", "verdict": "useful", "because": "it is useful", "lacks": ""}


class Store(NamedTuple):
    """A store with a live search, a search of two trials, its ensemble and its champion."""

    uri: str
    experiment: str
    runs: dict[str, str]
    client: MlflowClient

    @contextmanager
    def edited(self, table: str, key: str, value: str | None, run: str = "") -> Iterator[None]:
        """A tag without its value, or with another, of a run or of all models."""
        file = self.uri.removeprefix("sqlite:///")
        which = (key, run) if run else (key,)
        where = "key = ?" + (" AND run_uuid = ?" if run else "")
        with closing(sqlite3.connect(file, timeout=20, isolation_level=None)) as database:
            before = database.execute(f"SELECT * FROM {table} WHERE {where}", which).fetchall()
            assert before
            if value is None:
                database.execute(f"DELETE FROM {table} WHERE {where}", which)
            else:
                database.execute(f"UPDATE {table} SET value = ? WHERE {where}", (value, *which))
            try:
                yield
            finally:
                database.execute(f"DELETE FROM {table} WHERE {where}", which)
                marks = ", ".join("?" * len(before[0]))
                database.executemany(f"INSERT INTO {table} VALUES ({marks})", before)

    def tags(self, kind: str) -> Iterator[tuple[str, str, str]]:
        """Table, key and run of every tag of the run of a kind, or of the model."""
        if kind == "model":
            yield from (("model_version_tags", key, "") for key in MODEL)
        else:
            run = self.runs[kind]
            yield from (("tags", key, run) for key in self.client.get_run(run).data.tags)


@pytest.fixture(scope="session")
def edited_store(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("foreign")
    file = folder / "mlflow.db"
    file.write_bytes(empty_store.read_bytes())
    uri = f"sqlite:///{file}"
    ledger = Ledger(folder)
    live = Tracker(uri, "seg")
    runs = {"live": live.start_search("live", {}, {**TAGS, **marks(folder / "lock")})}
    tracker = Tracker(uri, "seg")
    tracker.start_search("one", {"trials": 2}, {**TAGS, **marks(folder / "gone")})
    for trial, best in {"t1": 0.8, "t2": 0.7}.items():
        tracker.start_trial(trial, f"#{trial} unet", {"lr": 0.1}, TRIAL)
        tracker.log(trial, {"best/dice": best}, 1)
        tracker.end_trial(trial, "FINISHED", {"stopped": "completed", description.TAG: "a note"})
    tracker.end_search("FINISHED", {}, {"why": "all trials are done"})
    assert tracker.close()
    ensemble = Tracker(uri, "seg")
    runs["ensemble"] = ensemble.start_search("ensemble of one", {}, {**DATA, **marks(folder / "gone")}, kind="ensemble")
    shown = {"winner": "mean", "verdict": "useful", "held_out": "0.8", "test": "0.8", "minus_best": "+0.1"}
    ensemble.end_search("FINISHED", {}, {**shown, "version": "1", f"{SCORED}d1": "once"})
    assert ensemble.close()
    client = MlflowClient(uri)
    client.create_registered_model("breast-ultrasound-seg")
    client.create_model_version("breast-ultrasound-seg", f"runs:/{runs['ensemble']}/model", runs["ensemble"], MODEL)
    client.set_registered_model_alias("breast-ultrasound-seg", registry.CHAMPION, "1")
    runs |= {"trial": tracker.run_id("t1")}
    yield Store(uri, ensemble.experiment_id, runs, client)
    live.close()
    ledger.close()


def _leaderboard(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--tracking-uri", store.uri, "--json"]) == 0
    out, err = capsys.readouterr()
    rows = {row["run_id"]: row["best"] for row in json.loads(out)}
    assert 0.7 in rows.values()
    assert rows.get(store.runs["trial"]) == 0.8 or store.runs["trial"] in err or not _is_trial(store)


def _is_trial(store: Store) -> bool:
    return store.client.get_run(store.runs["trial"]).data.tags.get("kind") == "trial"


def _description(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert "dice **0." in description.describe(store.client, store.experiment)


def _sweep(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    close_stale(store.client, store.experiment)
    assert store.client.get_run(store.runs["live"]).info.status == "RUNNING"


def _resumed(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    tracker = Tracker(store.uri, "seg")
    tracker._id = "one"
    assert tracker.written().get("t2") == 1
    tracker.finished("fold")
    tracker.close()


def _candidates(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    skipped = list[str]()
    rows = rank(read_trials(store.uri, None, "seg"))[0].ranked
    assert rows
    storage = Storage(Path(store.uri.removeprefix("sqlite:///")).parent)
    assert not list(CandidateReader(rows, storage, lambda name, why: skipped.append(name)))
    assert len(skipped) == len(rows)


def _registry(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    champion = registry.champion(store.client, "seg")
    assert champion
    Contender.standing(store.client, champion)
    registry.describe(store.client, "seg")
    times_scored(store.client, "f1")
    found = SimpleNamespace(
        model_uri="models:/breast-ultrasound-seg/1", digest="d1", task="seg", data=SimpleNamespace(fingerprint="f1")
    )
    known = registered(store.client, cast(Any, found))
    assert known.state == "the champion" or known.silence


#: And whose tags they read.
READERS: list[tuple[Callable[[Store, pytest.CaptureFixture[str]], None], tuple[str, ...]]] = [
    (_leaderboard, ("trial",)),
    (_candidates, ("trial",)),
    (_resumed, ("trial",)),
    (_sweep, ("live",)),
    (_description, ("live", "trial", "ensemble")),
    (_registry, ("model", "ensemble")),
]


@pytest.mark.parametrize("value", [None, "many \"'"], ids=["deleted", "nonsense"])
@pytest.mark.parametrize(("read", "kinds"), READERS, ids=[read.__name__ for read, _ in READERS])
def test_one_edited_tag_stops_no_reader(
    edited_store: Store,
    read: Callable[[Store, pytest.CaptureFixture[str]], None],
    kinds: tuple[str, ...],
    value: str | None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for table, key, run in (edit for kind in kinds for edit in edited_store.tags(kind)):
        with edited_store.edited(table, key, value, run):
            try:
                read(edited_store, capsys)
            except Exception as error:
                raise AssertionError(f"{key} of {table}: {error!r}") from error


def test_an_epoch_that_is_no_number_is_none(store: str) -> None:
    tracker = Tracker(store, "seg")
    tracker.start_search("one", {}, TAGS)
    tracker.start_trial("t1", "#1 unet", {}, TRIAL)
    tracker.close()
    MlflowClient(store).log_metric(tracker.run_id("t1"), "epoch", float("nan"))
    assert [row.epochs for row in read_trials(store)] == [0]
