"""`python -m benchmarks.slots`: what a driver can do for fleets of 100, 1,000 and 10,000 slots, without one worker.

Searcher, scheduler and callback are called as Tune calls them, by a loop that invents results, as fast as they return:
study, ledger and MLflow store are real. Every slot is filled; then results come from all slots in turn, and who waits
at a rung or ends makes room for the next. Ray's own share is not in it: `benchmarks.cluster` has that.

Calls are measured in the driver's CPU time. Asking the sampler for 10,000 trials takes long, so all but the last
`ASKED` are drawn at random, and an ask's time is that of these last, with the others running or ended. A lag is the
time until MLflow has a result; results come as fast as they are taken, so it is that of a store that is kept busy.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from ray import tune

from benchmarks._work import prepared
from benchmarks.report import machine, table
from benchmarks.surrogate import SETTINGS, Surrogate, quality
from orchestrator.cluster.resources import TrialResources
from orchestrator.config.cli import make_settings
from orchestrator.config.search import SearchSettings
from orchestrator.tracking import description
from orchestrator.tracking.tracker import Tracker
from orchestrator.tuning import searcher as searchers
from orchestrator.tuning.callback import SearchCallback
from orchestrator.tuning.ledger import Ledger
from orchestrator.tuning.plan import make_plan
from orchestrator.tuning.progress import SearchProgress
from orchestrator.tuning.rungs import Rungs
from orchestrator.tuning.scheduler import Asha
from orchestrator.tuning.search_run import SearchRun
from orchestrator.tuning.searcher import StudySearch, open_study

SIZES = (100, 1000, 10_000)
EPOCHS = 20
#: Of the search: more than there is time for.
TRIALS = 1_000_000
#: Trials that the search's own sampler draws once the others run.
ASKED = 20
#: Seconds for which results come, and longer where no trial has ended by then.
STEADY = 30.0
#: Numbers of a real result, beside what it is ranked by.
NUMBERS = {f"val/figure_{i}": 0.5 for i in range(12)} | {"train_seconds": 60.0, "setup_seconds": 1.0}


class Driver:
    """A search's driver whose trials run nowhere.

    Args:
        folder: with the phantom, for the search.
        slots: trials that run at a time.
        uri: of the MLflow store.
    """

    def __init__(self, folder: Path, slots: int, uri: str) -> None:
        data = prepared(folder)
        fields = {**SETTINGS, "arch": (), "time_budget": "10000h", "epochs": EPOCHS, "trials": TRIALS}
        where = {"name": f"{slots}-slots", "storage": folder / "runs", "tracking_uri": uri}
        settings = make_settings(SearchSettings, {"task": "seg", **fields, **where})
        settings.folder.mkdir(parents=True)
        share, self.ledger = TrialResources(slots, 1, 0), Ledger(settings.folder)
        plan = make_plan(settings, data, share)
        run = SearchRun(settings, data, plan, share, self.ledger)
        self.ledger.launch(plan.identity(settings, data), 0)
        self.tracker = Tracker(uri, "slots", describe=description.update)
        self.tracker.start_search(settings.name, {}, run.tags)
        rungs = Rungs(EPOCHS)
        self.slots, self.live, self.taken = slots, dict[str, tuple[Any, int]](), defaultdict[str, list[float]](list)
        self.scheduler, self.budget, self.metric = Asha(rungs, run.metric), run.budget, run.metric
        study = open_study(settings.folder, settings.name)
        self.searcher = self.timed("ask", StudySearch(run, study, rungs, lambda: self.slots), "_ask")
        self.searcher.add_configurations(tune.Experiment("1", "surrogate", storage_path=str(folder)))
        progress = SearchProgress(trials=plan.trials, slots=slots, metric=run.task.primary, budget=run.budget)
        self.callback = SearchCallback(run, self.tracker, progress)
        self.timed("start", self.callback, "on_trial_start")
        self.timed("result", self.callback, "on_trial_result")
        self.timed("end", self.callback, "on_trial_complete")
        self.timed("tell", self.searcher, "on_trial_complete")
        self.timed("decide", self.scheduler, "on_trial_result")

    def timed(self, kind: str, whose: Any, name: str) -> Any:
        """`whose`, with the seconds of each call of a method among those of its kind."""
        call, seconds = getattr(whose, name), self.taken[kind]

        def wrapper(*args: Any, **options: Any) -> Any:
            started = time.thread_time()
            try:
                return call(*args, **options)
            finally:
                seconds.append(time.thread_time() - started)

        setattr(whose, name, wrapper)
        return whose

    def fill(self) -> None:
        """Start trials until every slot is taken."""
        while trial := self.searcher.next_trial():
            self.callback.on_trial_start(0, [], trial)
            record = self.ledger.trials[trial.trial_id]
            self.live[trial.trial_id] = trial, record.checkpoint_epoch

    def result(self, trial_id: str) -> None:
        """A trial's next epoch, and its end where that is due; as Tune's controller handles them."""
        trial, epoch = self.live[trial_id]
        epoch += 1
        value = quality(trial.config) * (1 - 0.5**epoch)
        result = {self.metric: value, "best/epoch": epoch, "training_iteration": epoch, "trial_id": trial_id, **NUMBERS}
        over = epoch >= EPOCHS or self.budget(trial_id, result)
        over = over or self.scheduler.on_trial_result(None, trial, result) == Asha.STOP
        result["done"] = over
        self.callback.on_trial_result(0, [], trial, dict(result))
        self.live[trial_id] = trial, epoch
        if over:
            path = Path(trial_id) / str(epoch)
            (self.ledger.folder / path).mkdir(parents=True)
            (self.ledger.folder / path / "training.pt").write_text("state")
            self.ledger.add("checkpoint", trial_id, path=str(path), epoch=epoch)
            self.searcher.on_trial_complete(trial_id, result=result)
            self.callback.on_trial_complete(0, [], trial)
            del self.live[trial_id]

    def close(self) -> bool:
        """Interrupt the search; whether MLflow has all of it."""
        self.callback.close()
        self.searcher.close()
        self.tracker.end_search("KILLED", {}, {})
        written = self.tracker.close()
        self.ledger.close()
        return written


@contextmanager
def at_random() -> Iterator[None]:
    """Searches draw at random."""
    patched: Any = searchers
    own, patched.sampler = patched.sampler, lambda seed, number: optuna.samplers.RandomSampler(seed=number)
    try:
        yield
    finally:
        patched.sampler = own


def measure(folder: Path, slots: int, uri: str) -> dict[str, str | float]:
    """A fleet of so many slots, as a line of the table."""
    before, taken, began = _resident(), Driver(folder, slots, uri), time.perf_counter()
    with at_random():
        taken.fill()
        started = time.perf_counter()
        while time.perf_counter() - started < STEADY or not taken.taken["end"]:
            for trial_id in list(taken.live):
                taken.result(trial_id)
            taken.fill()
    seconds, memory = time.perf_counter() - started, _resident() - before
    taken.taken["ask"].clear()
    while len(taken.taken["ask"]) < ASKED and not taken.budget.over():  # not those that are promoted
        taken.slots += 1
        taken.fill()
    lag, closing = taken.tracker.lag, time.perf_counter()
    written = taken.close()

    def milliseconds(kind: str) -> float:
        return 1000 * sum(taken.taken[kind]) / max(1, len(taken.taken[kind]))

    return {
        "slots": slots,
        **{f"{kind}, ms": milliseconds(kind) for kind in ("ask", "start", "decide", "result", "tell", "end")},
        "results/s": len(taken.taken["result"]) / seconds,
        "trials": len(taken.ledger.trials),
        "MLflow lag, s": lag,
        "to write the end, s": time.perf_counter() - closing,
        "written, trials/s": len(taken.ledger.trials) / (time.perf_counter() - began),
        "all written": "yes" if written else "no",
        "memory, MB": memory / 1e6,
    }


def _resident() -> int:
    """Resident memory of this process, bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.slots", description="what a driver can do for fleets")
    parser.add_argument("--slots", type=int, nargs="+", default=SIZES)
    parser.add_argument("--tracking-uri", default="", help="a server, instead of SQLite")
    given = parser.parse_args(argv)
    tune.register_trainable("surrogate", Surrogate)
    rows = []
    for slots in given.slots:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measure(Path(folder), slots, given.tracking_uri or f"sqlite:///{folder}/mlflow.db"))
    print(f"\n{machine()}\n\n{table(rows)}")


if __name__ == "__main__":
    main()
