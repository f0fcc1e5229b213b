"""`python -m benchmarks.scale`: what a trial costs beyond its training in searches of 10, 100 and 1,000 of them.

Surrogate trials that train nothing, with a real Ray, study, ledger and MLflow store, one slot. A search's cost runs
from its first trial's start to when MLflow holds all of it, divided by its trials: start-up is left out, writing is
not. Optuna's share is its ask, suggest and tell, measured around the calls; ours is the rest. What such a mean would
hide, growth within a search, is the second table: seconds from one trial's end to the next one's, around that number,
in the largest search, where the writer thread has reached its steady rounds. Memory is the driver's, from trial 100 on.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna

import orchestrator
from benchmarks.report import machine, table
from benchmarks.surrogate import SETTINGS, Surrogate
from orchestrator.tracking.tracker import Tracker
from orchestrator.tuning import launch
from orchestrator.tuning.callback import SearchCallback

SIZES = (10, 100, 1000)


class Watch:
    """When a search's trials ended, what Optuna took until then and the driver's memory; when all was written."""

    def __init__(self) -> None:
        self.optuna, self.began, self.written = 0.0, 0.0, 0.0
        self.ends = list[tuple[float, float, int]]()

    def timed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """`call`, its time counted as Optuna's."""

        def wrapper(*args: Any, **options: Any) -> Any:
            started = time.perf_counter()
            try:
                return call(*args, **options)
            finally:
                self.optuna += time.perf_counter() - started

        return wrapper

    def after(self, call: Callable[..., Any], note: Callable[[], None]) -> Callable[..., Any]:
        """`call`, then `note`."""

        def wrapper(*args: Any, **options: Any) -> Any:
            result = call(*args, **options)
            note()
            return result

        return wrapper

    def on_start(self) -> None:
        self.began = self.began or time.perf_counter()

    def on_end(self) -> None:
        self.ends.append((time.perf_counter(), self.optuna, _resident()))

    def on_written(self) -> None:
        self.written = time.perf_counter()


def _resident() -> int:
    """Resident memory of this process, bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def search(trials: int, folder: str, watch: Watch) -> dict[str, Any]:
    """One search of so many trials."""
    watch.began, watch.optuna, watch.ends = 0.0, 0.0, []
    return orchestrator.run_search(
        name=f"scale {trials}",
        storage=folder,
        tracking_uri=f"sqlite:///{folder}/mlflow.db",
        trials=trials,
        epochs=6,
        max_concurrent=1,
        **SETTINGS,
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Run the searches and print the tables."""
    argparse.ArgumentParser(description=__doc__).parse_args(argv)
    watch = Watch()
    for name in ("ask", "tell", "enqueue_trial"):
        setattr(optuna.Study, name, watch.timed(getattr(optuna.Study, name)))
    for name in ("suggest_float", "suggest_categorical", "suggest_int"):
        setattr(optuna.Trial, name, watch.timed(getattr(optuna.Trial, name)))
    patched: Any = SearchCallback
    patched.on_trial_start = watch.after(SearchCallback.on_trial_start, watch.on_start)
    patched.on_trial_complete = watch.after(SearchCallback.on_trial_complete, watch.on_end)
    closing: Any = Tracker
    closing.close = watch.after(Tracker.close, watch.on_written)
    replaced: Any = launch
    replaced.Trial = Surrogate
    rows: list[dict[str, str | float]] = []
    with tempfile.TemporaryDirectory() as folder:
        for trials in SIZES:
            found = search(trials, folder, watch)
            total = watch.written - watch.began
            each, sampler = total / trials, watch.optuna / trials
            rows.append({"trials": trials, "s a trial": each, "Optuna": sampler, "ours": each - sampler})
            rows[-1]["ours, of first"] = (each - sampler) / float(rows[0]["ours"])
            rows[-1]["MLflow lag, s"] = found.tracking_lag_seconds
    ends, inside, memory = (np.array(column) for column in zip(*watch.ends, strict=True))
    within: list[dict[str, str | float]] = []
    for middle in (100, 300, len(ends) - 50):
        total, of_optuna = ((column[middle + 49] - column[middle - 50]) / 99 for column in (ends, inside))
        within.append({"around trial": middle, "s a trial": total, "Optuna": of_optuna, "ours": total - of_optuna})
        within[-1]["ours, of first"] = (total - of_optuna) / float(within[0]["ours"])
    growth = (memory[-1] - memory[100]) / (len(memory) - 101)
    print(f"\n{machine()}\n\n{table(rows)}\n\n{table(within)}\n\ndriver memory: {growth / 1000:.1f} kB a trial")


if __name__ == "__main__":
    main()
