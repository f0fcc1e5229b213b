"""What a search of real trials survives; `test_failures.py` shows more of it, on trials that train nothing."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from optuna.trial import TrialState

from orchestrator.tuning.tuner import MAX_FAILURES
from tests.support.processes import Server, small_disk
from tests.support.searches import Search, nothing_is_lost

pytestmark = pytest.mark.long

FAULTY = Path(__file__).parents[2] / "support" / "faulty_training.py"
EPOCHS = 6
Begin = Callable[..., Search]


@pytest.fixture
def begin(phantom: Path, empty_store: Path, tmp_path: Path) -> Begin:
    """A search in a folder of its own, with one core a trial, that is yet to be launched."""

    def make(name: str, *flags: str, storage: Path | None = None, **environment: str) -> Search:
        folder = tmp_path / name
        folder.mkdir()
        shutil.copy(empty_store, folder / "mlflow.db")
        fixed = ["--data", str(phantom), "--image-size", "64", "--batch-size", "8", "--epochs", str(EPOCHS)]
        given = [*fixed, "--cpus-per-trial", "1", "--weights", "none", *flags]
        return Search(folder, name, given, FAULTY, environment, storage)

    return make


def test_search_killed_four_times_trains_what_an_uninterrupted_one_trains(begin: Begin) -> None:
    flags = ["--arch", "unet", "--trials", "5", "--max-concurrent", "1"]
    whole, killed = begin("whole", *flags), begin("killed", *flags)
    with whole.begin() as launch:
        launch.end()
    nothing_is_lost(whole)
    for kill in range(4):
        reached = len(killed.epochs())
        with killed.resume() if kill else killed.begin() as launch:
            launch.until(lambda reached=reached: len(killed.epochs()) > reached + 2)
            launch.kill()
    with killed.resume() as launch:
        launch.end()
    nothing_is_lost(killed)
    assert killed.summary()["launches"] == 5
    assert killed.table() == whole.table()
    assert len(killed.epochs()) > len(whole.epochs()), "none was killed within a trial"
    assert {trial.state for trial in killed.study().trials} == {TrialState.COMPLETE}


def test_faults_and_a_server_that_is_away(begin: Begin) -> None:
    """One trial raises, one loses its worker, one diverges, one has too little memory, and MLflow is down for 20 s."""
    search = begin(
        "battered",
        *("--arch", "unet", "linknet", "fpn", "pspnet", "--encoder", "tf_efficientnet_lite0", "--trials", "8"),
        SURROGATE_FAULTS="linknet=raise fpn=nan pspnet=memory",
    )
    with Server(search.folder) as server, search.begin("--tracking-uri", server.address) as launch:
        promoted = launch.until(lambda: [line for line in search.epochs() if line.epoch == 3])[0]
        os.kill(promoted.pid, signal.SIGKILL)
        server.stop()
        time.sleep(20)
        server.start()
        launch.end()
        nothing_is_lost(search)
        with search.resume("--trials", "9") as launch:
            launch.end()
    nothing_is_lost(search)

    runs = {run.run_id: run for run in search.runs()}
    raised, diverged, small = (search.trial(name) for name in ("linknet", "fpn", "pspnet"))
    lost = [line for line in search.epochs() if line.trial_id == promoted.trial_id]
    assert [line.epoch for line in lost][:4] == [1, 2, 3, 3]
    assert lost[2].pid != lost[3].pid
    assert (raised["status"], raised["reason"]) == ("failed", "RuntimeError: made to fail")
    assert runs[raised["mlflow_run_id"]].tags["reason"] == raised["reason"]
    assert len([line for line in search.epochs() if line.trial_id == raised["trial_id"]]) == 1 + MAX_FAILURES
    assert (diverged["status"], diverged["epochs"]) == ("diverged", 2)
    assert diverged["metric"] > 0
    assert small["status"] in ("completed", "asha")
    assert runs[small["mlflow_run_id"]].tags["out_of_memory"] == "batch of 8 in parts of 4"


def test_disk_that_is_full(begin: Begin, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, "6m") as enlarge:
        search = begin("full", "--arch", "unet", "--trials", "5", storage=disk / "runs")
        with search.begin() as launch:
            output = launch.end(1)
        assert [line for line in output.splitlines() if line.startswith("disk full: ")]
        nothing_is_lost(search)
        enlarge("1g")
        with search.resume() as launch:
            launch.end()
        assert search.summary()["status"] == "done"
        nothing_is_lost(search)


def test_search_killed_before_its_first_trial(begin: Begin) -> None:
    search = begin("early", "--arch", "unet", "--trials", "1")
    with search.begin() as launch:
        launch.until((search.home / "trials.jsonl").exists)
        launch.kill()
    with search.resume() as launch:
        launch.end()
    nothing_is_lost(search)


def test_budget_ends_within_a_trial_which_a_larger_one_finishes(begin: Begin) -> None:
    search = begin("budgeted", "--arch", "unet", "--trials", "1", "--epochs", "400")
    with search.begin() as launch:
        launch.until(lambda: len(search.events("result")) > 4)
        launch.interrupt()
        launch.end(130)
    nothing_is_lost(search)
    first = search.events("result")[0]["clock"]
    budget = f"{search.summary()['wall_seconds'] + first + 10:.0f}s"  # as long to start as it was, and a few epochs
    for _ in range(2):  # the second time there is none left
        with search.resume("--time-budget", budget) as launch:
            assert "the time budget is spent" in launch.end()
        assert [row["status"] for row in search.summary()["trials"]] in (["budget"], ["asha"])  # it may be at a rung
        nothing_is_lost(search)
    with search.resume("--time-budget", "1h") as launch:
        launch.end()
    assert [row["status"] for row in search.summary()["trials"]] == ["completed"]
    nothing_is_lost(search)
