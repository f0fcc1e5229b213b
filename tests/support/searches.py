"""Searches as processes of their own: started, watched, killed, and what they must leave behind whatever happened."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections import Counter, defaultdict
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from orchestrator.tuning.callback import RUN_STATUS
from orchestrator.tuning.ledger import ENDED
from orchestrator.tuning.searcher import WORST
from tests.support.processes import Process

SURROGATE = Path(__file__).parents[2] / "benchmarks" / "surrogate.py"


class Epoch(NamedTuple):
    """A line of the log that trials write."""

    trial_id: str
    epoch: int
    pid: int


@dataclass
class Run:
    """A run in MLflow, read from its tables: `values` are (metric, step, value)."""

    run_id: str
    status: str
    tags: dict[str, str] = field(default_factory=dict)
    values: list[tuple[str, int, float]] = field(default_factory=list)


@dataclass
class Search:
    """A search of its own folder: how to launch it, and what it left.

    Attributes:
        folder: working directory; its `mlflow.db` is the store.
        script: what is run, with the flags of `orchestrator.search`.
        flags: of the first launch.
        environment: of every launch.
        storage: where `runs/` would be.
        ending: flags of every launch that say what a search ends with.
    """

    folder: Path
    name: str
    flags: list[str]
    script: Path = SURROGATE
    environment: dict[str, str] = field(default_factory=dict)
    storage: Path | None = None
    ending: tuple[str, ...] = ("--no-ensemble",)
    launches: int = 0

    @property
    def home(self) -> Path:
        return (self.storage or self.folder / "runs") / self.name

    @property
    def database(self) -> Path:
        return self.folder / "mlflow.db"

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.database}"

    def begin(self, *flags: str, **environment: str) -> Process:
        """The first launch."""
        return self._launch(["--name", self.name, *self.flags, *flags], environment)

    def resume(self, *flags: str, **environment: str) -> Process:
        """A later launch."""
        return self._launch(["--resume", self.name, *flags], environment)

    def _launch(self, flags: list[str], environment: dict[str, str]) -> Process:
        self.launches += 1
        where = ["--storage", str(self.home.parent), *self.ending]
        log = {"SURROGATE_LOG": str(self.folder / "epochs.log")}
        return Process(
            [sys.executable, str(self.script), *flags, *where],
            self.folder,
            {**log, **self.environment, **environment},
            self.folder / f"output {self.launches}.txt",
        )

    def epochs(self) -> list[Epoch]:
        """Every epoch that a worker has trained, in order."""
        file = self.folder / "epochs.log"
        lines = file.read_text().splitlines() if file.exists() else []
        return [Epoch(trial, int(epoch), int(pid)) for trial, epoch, pid in map(str.split, lines)]

    def events(self, *kinds: str) -> list[dict[str, Any]]:
        """Events of the ledger, of these kinds."""
        file = self.home / "trials.jsonl"
        text = file.read_text() if file.exists() else ""
        events = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
        return [event for event in events if not kinds or event["event"] in kinds]

    def summary(self) -> dict[str, Any]:
        return json.loads((self.home / "summary.json").read_text())

    def table(self) -> list[tuple[Any, ...]]:
        """What was tried and what came of it."""
        configs = {event["trial"]: event["config"] for event in self.events("asked")}
        rows = self.summary()["trials"]
        return [(row["name"], row["epochs"], row["status"], row["metric"], configs[row["trial_id"]]) for row in rows]

    def trial(self, architecture: str) -> dict[str, Any]:
        """The summary's row of the first trial of an architecture."""
        return next(row for row in self.summary()["trials"] if row["architecture"] == architecture)

    def study(self) -> optuna.Study:
        storage = JournalStorage(JournalFileBackend(str(self.home / "study.journal")))
        return optuna.load_study(study_name=self.name, storage=storage)

    def runs(self) -> list[Run]:
        """The runs of this search, its own among them."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as store:
            found = {row[0]: Run(*row) for row in store.execute("select run_uuid, status from runs")}
            for run_id, key, value in store.execute("select run_uuid, key, value from tags"):
                found[run_id].tags[key] = value
            for run_id, *point in store.execute("select run_uuid, key, step, value from metrics"):
                found[run_id].values.append(tuple(point))
        return [run for run in found.values() if run.tags.get("search") == self.name]


def nothing_is_lost(search: Search) -> None:
    """What holds when a search has ended, however often and whatever way it was stopped before."""
    found = search.summary()
    assert "\n" not in found["why"]
    asked = {event["trial"] for event in search.events("asked")}
    state = {event["trial"]: event["state"] for event in search.events("ended")}
    if found["why"] == "all trials are done":
        assert found["status"] == "done"
        assert state.keys() == asked
        assert set(state.values()) <= set(ENDED)
    else:
        assert found["why"]
    runs = {run.tags["trial_id"]: run for run in search.runs() if run.tags["kind"] == "trial"}
    _each_trial_has_one_closed_run(search, runs, state)
    _each_value_is_in_mlflow_once(search, runs)
    _no_epoch_is_trained_again_without_need(search)
    _optuna_knows_how_it_ended(search)


def _each_trial_has_one_closed_run(search: Search, runs: dict[str, Run], state: dict[str, str]) -> None:
    started = {event["trial"] for event in search.events("started")}
    counted = Counter((run.tags["kind"], run.tags.get("trial_id", "")) for run in search.runs())
    assert counted == Counter([("search", ""), *(("trial", trial) for trial in started)])
    assert {row["trial_id"]: row["mlflow_run_id"] for row in search.summary()["trials"]} == {
        trial: run.run_id for trial, run in runs.items()
    }
    closed = {trial: (run.status, run.tags.get("stopped")) for trial, run in runs.items()}
    assert closed == {trial: (RUN_STATUS.get(state[trial], "FINISHED"), state[trial]) for trial in started}
    (parent,) = [run for run in search.runs() if run.tags["kind"] == "search"]
    assert (
        parent.status == {"done": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}[search.summary()["status"]]
    )


def _each_value_is_in_mlflow_once(search: Search, runs: dict[str, Run]) -> None:
    for run in search.runs():
        often = Counter((key, step) for key, step, _ in run.values)
        assert not [point for point, times in often.items() if times > 1], run.tags
    reported = defaultdict(set)
    for event in search.events("result"):
        for key, value in event["metrics"].items():
            if key.startswith(("best/", "val/")):
                reported[event["trial"], key, event["epoch"]].add(value)  # an epoch done again may report again
    written = {
        (trial, key, step): value
        for trial, run in runs.items()
        for key, step, value in run.values
        if key.startswith(("best/", "val/"))
    }
    assert written.keys() == reported.keys()
    assert not [point for point, value in written.items() if value not in reported[point]]


def _no_epoch_is_trained_again_without_need(search: Search) -> None:
    """A trial begins where its last checkpoint was, as often as it was started, and after its end only if promoted."""
    begins: dict[str, list[int]] = defaultdict(list)
    saved: dict[str, int] = {}
    ended: set[str] = set()
    for event in search.events("started", "checkpoint", "ended", "promoted"):
        trial = event["trial"]
        if event["event"] == "promoted":
            ended.discard(trial)
            continue
        assert trial not in ended, f"{event} after its end"
        if event["event"] == "started":
            begins[trial].append(saved.get(trial, 0) + 1)
        elif event["event"] == "checkpoint":
            saved[trial] = event["epoch"]
        elif event["state"] in ENDED:
            ended.add(trial)
    last: dict[str, Epoch] = {}
    for line in search.epochs():
        before = last.get(line.trial_id)
        if before is None or (line.epoch, line.pid) != (before.epoch + 1, before.pid):
            allowed = begins[line.trial_id]
            while allowed and allowed[0] != line.epoch:  # started, and stopped before its first epoch was done
                allowed.pop(0)
            assert allowed, f"{line} was not to be trained again"
            allowed.pop(0)
        last[line.trial_id] = line


def _optuna_knows_how_it_ended(search: Search) -> None:
    trials = search.study().get_trials(deepcopy=False)
    assert {trial.state for trial in trials} <= {TrialState.COMPLETE, TrialState.FAIL}
    metric = f"best/{search.summary()['metric']}"
    value = {event["trial"]: event["metrics"][metric] for event in search.events("result")}
    ends = search.events("ended")
    state = {event["trial"]: event["state"] for event in ends}
    final = Counter(value.get(trial, WORST) for trial in state if state[trial] in ENDED)
    told = Counter(trial.value for trial in trials if trial.state == TrialState.COMPLETE)
    assert not final - told
    # A trial that waited, or that the budget or a person stopped, is told, and told again when it has gone on.
    assert (told - final).total() <= len(ends) - final.total()
