"""A search that died and is never resumed does not stay RUNNING in MLflow."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.tracking.orphans import marks
from orchestrator.tracking.tracker import Tracker
from tests.support.mlflow_runs import TAGS, begin, runs, wait_for_run
from trainables import locks


def _elsewhere(told: str) -> str:
    """The same process in another container: of the same kernel, of the same host name."""
    boot, _, pid, began = told.split()
    return f"{boot} pid:[1] {pid} {began}"


@pytest.mark.slow
def test_runs_of_a_dead_search_are_closed_by_the_next_one(store: str, tmp_path: Path) -> None:
    held = {}
    for name in ("dead", "alive", "deleted", "its folder alone", "container", "same path"):
        folder = tmp_path / name
        if name in ("dead", "alive", "same path"):
            held[name] = locks.take(folder / "lock")
        tags = marks(folder / "lock")
        if name == "deleted":
            tags["process"] = f"{tags['process'].rpartition(' ')[0]} 1"  # one that has ended
        elif name in ("container", "same path"):
            tags["process"] = _elsewhere(tags["process"])
        if name == "same path":
            tags["inode"] = "1"  # what lies here is another search's
        tracker = Tracker(store, "seg")
        tracker.start_search(name, {}, {"task": "seg", **tags})
        tracker.start_trial("t1", f"trial of {name}", {}, TAGS)
        wait_for_run(tracker, "t1")
    for name in ("dead", "same path"):
        held[name].release()  # as a killed process does: the file stays
    elsewhere = Tracker(store, "seg")
    elsewhere.start_search("elsewhere", {}, {"task": "seg", **marks(tmp_path / "lock"), "host": "another machine"})
    foreign = Tracker(store, "seg")
    foreign.start_search("foreign", {}, {"host": marks(tmp_path / "lock")["host"]})

    begin(store, search="the next").close()
    status = {run.info.run_name: run.info.status for run in runs(store)}
    assert status == {
        "dead": "KILLED",
        "trial of dead": "KILLED",
        "alive": "RUNNING",
        "trial of alive": "RUNNING",
        "deleted": "KILLED",
        "trial of deleted": "KILLED",
        "its folder alone": "RUNNING",
        "trial of its folder alone": "RUNNING",
        "container": "RUNNING",
        "trial of container": "RUNNING",
        "same path": "RUNNING",
        "trial of same path": "RUNNING",
        "elsewhere": "RUNNING",
        "foreign": "RUNNING",
        "the next": "KILLED",
    }
