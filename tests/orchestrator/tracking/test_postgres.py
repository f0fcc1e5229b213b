"""MLflow's server over PostgreSQL, as teams and clusters have it: several searches and an ensemble write at once."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from orchestrator.tracking.ranking import rank, read_trials
from tests.support.mlflow_runs import begin, points, runs
from tests.support.postgres import postgres
from tests.support.processes import Server

pytestmark = pytest.mark.long

TRIALS, EPOCHS = 20, 5
#: Searches and an ensemble, each a process of its own: name, kind of its run, and of those below it.
WRITERS = (("first", "search", "trial"), ("second", "search", "trial"), ("third", "ensemble", "fold"))
WRITER = """
import sys
from orchestrator.tracking import description
from orchestrator.tracking.tracker import Tracker
from tests.support.mlflow_runs import TAGS

TAGS = TAGS | {"classes": "3"}

uri, name, kind, below, trials, epochs = sys.argv[1:]
tracker = Tracker(uri, "seg", describe=description.update)
tracker.start_search(name, {"trials": trials}, TAGS, f"{name}-id", kind=kind)
for trial in range(int(trials)):
    tracker.start_trial(f"{name} {trial}", f"#{trial} unet", {"lr": 0.1}, TAGS, kind=below)
for epoch in range(1, int(epochs) + 1):
    for trial in range(int(trials)):
        tracker.log(f"{name} {trial}", {"best/dice": epoch / 10 + trial / 1000, "val/dice": 0.5}, epoch)
for trial in range(int(trials)):
    tracker.end_trial(f"{name} {trial}", "FINISHED", {"stopped": "completed"})
tracker.end_search("FINISHED", {}, {})
sys.exit(not tracker.close())
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of MLflow's server."""
    with postgres() as store, Server(tmp_path_factory.mktemp("server"), store) as server:
        yield server.address


def test_three_writers_at_once_lose_nothing(server: str) -> None:
    root = Path(__file__).parents[3]
    given = [[server, *writer, str(TRIALS), str(EPOCHS)] for writer in WRITERS]
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, *words], cwd=root) for words in given]
    assert [writer.wait(300) for writer in writers] == [0, 0, 0]

    found = runs(server)
    assert {run.info.status for run in found} == {"FINISHED"}
    counted = Counter((run.data.tags["search"], run.data.tags.get("trial_id", "")) for run in found)
    expected = [(name, trial) for name, _, _ in WRITERS for trial in ("", *(f"{name} {i}" for i in range(TRIALS)))]
    assert counted == Counter(expected)
    last = next(run for run in found if run.data.tags.get("trial_id") == f"second {TRIALS - 1}")
    values = [epoch / 10 + (TRIALS - 1) / 1000 for epoch in range(1, EPOCHS + 1)]
    assert points(server, last.info.run_id, "best/dice") == list(enumerate(values, 1))

    (ranking,) = rank(read_trials(server, "seg"))
    assert len(ranking.ranked) == 2 * TRIALS, "an ensemble's folds are no trials"
    (experiment,) = [one for one in MlflowClient(server).search_experiments() if one.name == "seg"]
    assert "best validation dice **0.5190**" in experiment.tags["mlflow.note.content"]


def test_a_run_goes_on_there(server: str) -> None:
    for epoch in (1, 2):
        tracker = begin(server, "resumed", "resumed")
        tracker.start_trial("t1", "#1 unet", {"lr": 0.1}, {})
        tracker.log("t1", {"val/dice": epoch / 10}, epoch)
        assert tracker.close()
    (trial,) = [run for run in runs(server) if run.data.tags.get("search") == "resumed" and "trial_id" in run.data.tags]
    assert trial.info.status == "KILLED"
    assert points(server, trial.info.run_id, "val/dice") == [(1, 0.1), (2, 0.2)]
