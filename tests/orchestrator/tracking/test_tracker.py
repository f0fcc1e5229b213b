"""The tracker against a real store: each point once, one run a trial, nothing left RUNNING."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient

from orchestrator.tracking.tracker import flat
from tests.support.mlflow_runs import TAGS, begin, database, points, runs, trials, wait_for_run


def test_settings_become_flat_parameters() -> None:
    nested = {"loss": {"name": "dice+bce", "weights": [0.5, 0.5]}, "lr": 0.001, "encoder": None, "note": "x" * 9000}
    got = flat(nested)
    assert got.pop("note") == "x" * 6000
    assert got == {"loss.name": "dice+bce", "loss.weights": "0.5, 0.5", "lr": "0.001", "encoder": "None"}


@pytest.mark.slow
def test_a_search_as_the_ui_shows_it(store: str, tmp_path: Path) -> None:
    picture = tmp_path / "a picture.png"
    picture.write_bytes(b"png")
    tracker = begin(store)
    tracker.start_trial("t1", "unet #1", {"loss": {"name": "dice"}, "epochs": 3}, TAGS)
    for epoch, dice in enumerate([0.5, 0.8, 0.3], start=1):
        best = max([0.5, 0.8, 0.3][:epoch])
        tracker.log("t1", {"val/dice": dice, "best/dice": best, "val/hd95": float("nan"), "lr": float("inf")}, epoch)
    tracker.log_picture("t1", picture, "pictures")
    tracker.end_trial("t1", "FINISHED", {"stopped": "completed"})
    tracker.end_search("FINISHED", {"best/dice": 0.8}, {"best_trial": "t1"})
    assert tracker.close()

    parent, trial = runs(store)
    run_id = trial.info.run_id
    assert run_id == tracker.run_id("t1")
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
    assert 0 < tracker.lag < 10
    copied = list(Path(database(store)).parent.glob("mlartifacts/*/artifacts/pictures/a picture.png"))
    assert len(copied) == 1
    assert [item.path for item in MlflowClient(store).list_artifacts(run_id, "pictures")] == ["pictures/a picture.png"]


@pytest.mark.slow
def test_each_point_is_stored_once_also_after_a_restart(store: str) -> None:
    first = begin(store)
    first.start_trial("t1", "unet #1", {"lr": 0.1}, TAGS)
    for epoch in (1, 2, 2, 1, 3):
        first.log("t1", {"val/dice": epoch / 10}, epoch)
    first.log("t1", {"val/iou": 0.2}, 3)  # another metric of the same step is another point
    first.close()
    run_id = first.run_id("t1")

    second = begin(store)
    second.start_trial("t1", "unet #1", {"lr": 0.1}, TAGS)
    for epoch in (2, 3, 4):  # resumed from the checkpoint of epoch 1
        second.log("t1", {"val/dice": epoch / 10}, epoch)
    second.end_trial("t1", "FINISHED", {})
    second.end_search("FINISHED", {"best/dice": 0.4}, {})
    second.close()

    assert points(store, run_id, "val/dice") == [(1, 0.1), (2, 0.2), (3, 0.3), (4, 0.4)]
    assert points(store, run_id, "val/iou") == [(3, 0.2)]
    assert [run.info.status for run in runs(store)] == ["FINISHED", "FINISHED"]
    assert second.run_id("t1") == run_id


@pytest.mark.slow
def test_a_trial_is_one_run_and_a_name_is_one_search(store: str) -> None:
    first, second = begin(store), begin(store)
    for tracker, rate in ((first, 0.1), (second, 0.2)):
        tracker.start_trial("t1", "unet #1", {"lr": rate}, TAGS)
        wait_for_run(tracker, "t1")
    first.start_trial("t1", "unet #1", {"lr": 0.3}, TAGS)  # Tune starts it again after a failure
    first.log("t1", {"val/dice": 0.5}, 1)
    first.close()
    second.close()
    ids = {tracker.run_id("t1") for tracker in (first, second)}
    other = begin(store, search="second look")
    other.start_trial("t1", "unet #1", {}, TAGS)
    other.close()
    other_id = other.run_id("t1")

    assert len(ids) == 1
    assert [run.info.run_id for run in trials(store)] == [*ids, other_id]
    assert trials(store)[0].data.params == {"lr": "0.1"}, "parameters stay those of the first launch"
    assert trials(store)[0].data.metrics["val/dice"] == 0.5
    assert len(runs(store)) == 4


@pytest.mark.slow
def test_nothing_is_left_running_after_close(store: str) -> None:
    crashed = begin(store, search="it's mine")
    crashed.start_trial("t1", "unet #1", {}, TAGS)
    wait_for_run(crashed, "t1")  # a killed driver: neither end nor close
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
