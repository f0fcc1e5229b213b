"""A search that died and is never resumed does not stay RUNNING in MLflow."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.tracking.orphans import marks
from orchestrator.tracking.tracker import Tracker
from orchestrator.tuning.ledger import Ledger
from tests.support.mlflow_runs import TAGS, begin, runs, wait_for_run


@pytest.mark.slow
def test_runs_of_a_dead_search_are_closed_by_the_next_one(store: str, tmp_path: Path) -> None:
    ledgers = []
    for name in ("dead", "alive", "deleted"):
        folder = tmp_path / name
        if name != "deleted":
            folder.mkdir()
            ledgers.append(Ledger(folder))
        tracker = Tracker(store, "seg")
        tracker.start_search(name, {}, {"task": "seg", **marks(folder / "lock")})
        tracker.start_trial("t1", f"trial of {name}", {}, TAGS)
        wait_for_run(tracker, "t1")
    ledgers[0].close()
    elsewhere = Tracker(store, "seg")
    elsewhere.start_search("elsewhere", {}, {"task": "seg", **marks(tmp_path / "lock"), "host": "another machine"})

    begin(store, search="the next").close()
    status = {run.info.run_name: run.info.status for run in runs(store)}
    assert status == {
        "dead": "KILLED",
        "trial of dead": "KILLED",
        "alive": "RUNNING",
        "trial of alive": "RUNNING",
        "deleted": "KILLED",
        "trial of deleted": "KILLED",
        "elsewhere": "RUNNING",
        "the next": "KILLED",
    }
