"""What a search survives: killed processes, a store that is away, a full disk, trials that fail; on stand-in trials."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from orchestrator import run_search
from orchestrator.common.errors import UserError
from orchestrator.search import main
from orchestrator.tuning.searcher import mend_study, open_study
from orchestrator.tuning.tuner import MAX_FAILURES
from tests.support.mlflow_runs import locked
from tests.support.processes import Server, small_disk
from tests.support.searches import Search, nothing_is_lost

pytestmark = pytest.mark.slow

EPOCHS = 6
Begin = Callable[..., Search]


@pytest.fixture(scope="module")
def begin(phantom: Path, empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Begin:
    """A search of stand-in trials in a folder of its own, one at a time, that is yet to be launched."""

    def make(name: str, *flags: str, storage: Path | None = None, **environment: str) -> Search:
        folder = tmp_path_factory.mktemp(name)
        shutil.copy(empty_store, folder / "mlflow.db")
        fixed = ["--data", str(phantom), "--image-size", "64", "--batch-size", "8", "--epochs", str(EPOCHS)]
        given = [*fixed, "--max-concurrent", "1", "--weights", "none", "--arch", "unet", *flags]
        return Search(folder, name, given, environment={"SURROGATE_SECONDS": "0.1", **environment}, storage=storage)

    return make


@pytest.fixture(scope="module")
def uninterrupted(begin: Begin) -> Search:
    """More trials than those that Optuna draws at random, so that what it was told counts."""
    search = begin("uninterrupted", "--trials", "13")
    with search.begin() as launch:
        launch.end()
    nothing_is_lost(search)
    assert search.events("promoted")
    assert len({line.pid for line in search.epochs()}) == 1, "a trial that is promoted needs no new worker"
    return search


@pytest.fixture(scope="module")
def raised(uninterrupted: Search) -> tuple[list[Any], list[Any]]:
    """What a finished search found, and what it found when it was resumed with more trials."""
    before = uninterrupted.table()
    with uninterrupted.resume("--trials", "15") as launch:
        assert "13 trials are done, 0 go on" in launch.end()
    nothing_is_lost(uninterrupted)
    return before, uninterrupted.table()


def test_trials_may_be_raised_after_the_end(raised: tuple[list[Any], list[Any]]) -> None:
    before, after = raised
    assert len(after) == 15
    assert [row[0] for row in after[:13]] == [row[0] for row in before]
    assert all(late[1] >= early[1] for early, late in zip(before, after, strict=False)), "none is trained again"


def test_search_killed_twice_finds_what_an_uninterrupted_one_finds(
    begin: Begin, raised: tuple[list[Any], list[Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    search = begin("killed", "--trials", "13")
    with search.begin() as launch:
        launch.until(lambda: len(search.epochs()) > EPOCHS)
        with locked(search.uri):  # nothing of the next epochs is in MLflow when it dies
            reached = len(search.epochs())
            launch.until(lambda: len(search.epochs()) > reached + EPOCHS)
            capsys.readouterr()
            assert main(["--resume", "killed", "--storage", str(search.home.parent)]) == 2
            assert "it is running already (process " in _line(capsys)
            launch.kill()
    ended = [event["trial"] for event in search.events("ended")]
    with search.resume() as launch:
        launch.until(lambda: len(search.events("launch")) == 2 and search.events()[-1]["event"] == "started")
        launch.kill()
    with search.resume() as launch:
        launch.end()
    nothing_is_lost(search)
    assert search.summary()["launches"] == 3
    assert search.table() == raised[0]
    assert {trial.state for trial in search.study().trials} == {TrialState.COMPLETE}
    assert len(ended) >= 1


def test_resume_of_what_is_not_the_same_search(
    uninterrupted: Search, phantom: Path, ray_local: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Refused in one line that names the difference; the search stays as it was."""
    storage, ledger = uninterrupted.home.parent, uninterrupted.home / "trials.jsonl"
    before = ledger.read_bytes()
    other = tmp_path / "other"
    shutil.copytree(phantom, other)
    next(file for file in sorted(other.rglob("*.png")) if "mask" not in file.name).write_bytes(b"")
    for flags, expected in (
        (["--task", "cls"], "--task is seg in this search, not cls"),
        (["--arch", "linknet"], '--arch is ["unet"] in this search, not ["linknet"]'),
        (["--epochs", "9"], "--epochs is 6 in this search, not 9"),
        (["--seed", "9"], "--seed is 0 in this search, not 9"),
        (["--data", str(other)], "the data are not those of this search (data fingerprint"),
    ):
        assert main(["--resume", "uninterrupted", "--storage", str(storage), *flags]) == 2
        assert expected in _line(capsys)
    assert main(["--resume", "absent", "--storage", str(storage)]) == 2
    assert "there are uninterrupted" in _line(capsys)
    assert ledger.read_bytes() == before


def _line(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of an error."""
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.fixture(scope="module")
def battered(begin: Begin, ray_local: None) -> Search:
    """One trial a fault, a worker that is killed and a database that is locked, in one search; then it is resumed."""
    search = begin(
        "battered",
        *("--arch", "unet", "linknet", "fpn", "pspnet", "--encoder", "tf_efficientnet_lite0"),
        *("--trials-per-arch", "1", "--max-concurrent", "2"),
        SURROGATE_FAULTS="linknet=raise fpn=nan pspnet=memory",
        SURROGATE_SECONDS="0.5",
    )
    with search.begin() as launch:
        promoted = launch.until(lambda: [line for line in search.epochs() if line.epoch == 3])[0]
        os.kill(promoted.pid, signal.SIGKILL)
        with locked(search.uri):
            time.sleep(10)
        launch.end()
    nothing_is_lost(search)
    run_search(resume="battered", storage=search.home.parent)
    return search


def test_nothing_of_a_battered_search_is_lost(battered: Search) -> None:
    nothing_is_lost(battered)
    assert battered.summary()["launches"] == 2
    assert len(battered.summary()["trials"]) == 4


def test_trial_whose_worker_is_killed_goes_on_from_its_checkpoint(battered: Search) -> None:
    promoted = next(line.trial_id for line in battered.epochs() if line.epoch == 3)
    trial = next(row for row in battered.summary()["trials"] if row["trial_id"] == promoted)
    assert (trial["status"], trial["epochs"]) == ("completed", EPOCHS)
    lines = [line for line in battered.epochs() if line.trial_id == promoted]
    assert [line.epoch for line in lines] == [1, 2, 3, 3, 4, 5, 6]
    assert lines[2].pid != lines[3].pid


def test_trial_that_raises_is_tried_again_and_then_left(battered: Search) -> None:
    trial = battered.trial("linknet")
    assert (trial["status"], trial["reason"], trial["metric"]) == ("failed", "RuntimeError: made to fail", None)
    assert len([line for line in battered.epochs() if line.trial_id == trial["trial_id"]]) == 1 + MAX_FAILURES
    (run,) = [run for run in battered.runs() if run.run_id == trial["mlflow_run_id"]]
    assert (run.status, run.tags["reason"]) == ("FAILED", "RuntimeError: made to fail")
    (told,) = [t for t in battered.study().trials if t.params["architecture"] == "linknet"]
    assert (told.state, told.value) == (TrialState.COMPLETE, 0.0)


def test_trial_whose_loss_is_nan_ends_with_its_best_value(battered: Search) -> None:
    trial = battered.trial("fpn")
    assert (trial["status"], trial["epochs"]) == ("diverged", 2)
    (told,) = [t for t in battered.study().trials if t.params["architecture"] == "fpn"]
    assert told.value == trial["metric"] > 0


def test_trial_that_ran_out_of_memory_is_tagged(battered: Search) -> None:
    trial = battered.trial("pspnet")
    (run,) = [run for run in battered.runs() if run.run_id == trial["mlflow_run_id"]]
    assert run.status == "FINISHED"
    assert run.tags["out_of_memory"] == "batch of 8 in parts of 2"


def test_server_that_is_away_for_20_seconds(begin: Begin) -> None:
    search = begin("served", "--trials", "4", SURROGATE_SECONDS="1.5")
    with Server(search.folder) as server, search.begin("--tracking-uri", server.address) as launch:
        launch.until(lambda: len(search.epochs()) > 2)
        server.stop()
        reached = len(search.epochs())
        time.sleep(20)
        assert len(search.epochs()) > reached + 5, "trials do not wait for it"
        server.start()
        launch.end()
    nothing_is_lost(search)


def test_disk_that_is_full(begin: Begin, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, "16m") as enlarge:
        search = begin("full", "--trials", "5", storage=disk / "runs", SURROGATE_BALLAST="6000000")
        with search.begin() as launch:
            output = launch.end(1)
        assert [line for line in output.splitlines() if line.startswith("disk full: ")]
        assert search.summary()["status"] == "failed"
        nothing_is_lost(search)
        enlarge("64m")
        with search.resume() as launch:
            launch.end()
        assert search.summary()["status"] == "done"
        nothing_is_lost(search)


def test_interrupted_search_goes_on_if_there_is_budget(begin: Begin, ray_local: None) -> None:
    search = begin("stopped", "--trials", "2", "--epochs", "100")
    with search.begin() as launch:
        launch.until(lambda: len(search.events("result")) > 4)
        launch.interrupt()
        launch.end(130)
    nothing_is_lost(search)
    reached = search.table()

    spent = run_search(resume="stopped", storage=search.home.parent, time_budget="1s")
    assert (spent.status, spent.why) == ("done", "the time budget is spent: 1 s")
    assert search.table() == reached
    nothing_is_lost(search)

    with search.resume("--time-budget", "1h", SURROGATE_SECONDS="0") as launch:
        launch.end()
    assert sorted(row["status"] for row in search.summary()["trials"]) == ["asha", "completed"]
    nothing_is_lost(search)


def test_study_whose_last_line_was_cut_short(tmp_path: Path) -> None:
    """As a full disk or a power cut leaves it."""
    open_study(tmp_path, "cut").ask()
    with (tmp_path / "study.journal").open("ab") as file:
        file.write(b'{"op_code": 4, "wor')
    mend_study(tmp_path)
    open_study(tmp_path, "cut").ask()
    assert len(open_study(tmp_path, "cut").trials) == 2


def test_name_that_is_taken_is_refused(uninterrupted: Search, phantom: Path) -> None:
    with pytest.raises(UserError, match="exists already; choose another name, or --resume uninterrupted"):
        run_search(data=phantom, name="uninterrupted", storage=uninterrupted.home.parent)
