"""`python -m benchmarks.scale`: what a trial costs beyond its training when a search has 10, 100 and 1,000 of them.

One search of 1,000 surrogate trials that train nothing, with a real Ray, study, ledger and MLflow store, one slot. Each
row is the mean over trials around that number: seconds from one trial's end to the next one's, Optuna's share (its ask,
suggest and tell, measured around the calls), and ours, the rest. Memory is the driver's, from 100 trials to the last.
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
from benchmarks.surrogate import Surrogate
from orchestrator import launch
from orchestrator.callback import SearchCallback


class Clock:
    """Seconds spent in Optuna, and the state of the driver at each trial's end."""

    def __init__(self) -> None:
        self.optuna, self.rows = 0.0, list[tuple[float, float, int]]()

    def timed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """`call`, its time counted as Optuna's."""

        def wrapper(*args: Any, **options: Any) -> Any:
            started = time.perf_counter()
            try:
                return call(*args, **options)
            finally:
                self.optuna += time.perf_counter() - started

        return wrapper

    def watch(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """`call`, after which a row is added."""

        def wrapper(*args: Any, **options: Any) -> Any:
            call(*args, **options)
            self.rows.append((time.perf_counter(), self.optuna, _resident()))

        return wrapper


def _resident() -> int:
    """Resident memory of this process, bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the search and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    trials = parser.parse_args(argv).trials
    clock = Clock()
    for name in ("ask", "tell", "enqueue_trial"):
        setattr(optuna.Study, name, clock.timed(getattr(optuna.Study, name)))
    for name in ("suggest_float", "suggest_categorical", "suggest_int"):
        setattr(optuna.Trial, name, clock.timed(getattr(optuna.Trial, name)))
    SearchCallback.on_trial_complete = clock.watch(SearchCallback.on_trial_complete)  # type: ignore[method-assign]
    launch.Trial = Surrogate  # type: ignore[misc,assignment]
    with tempfile.TemporaryDirectory() as folder:
        found = orchestrator.run_search(
            name="scale",
            storage=folder,
            tracking_uri=f"sqlite:///{folder}/mlflow.db",
            arch=("unet", "smp_unet"),
            encoder=("resnet18",),
            weights="none",
            trials=trials,
            epochs=6,
            image_size=64,
            time_budget="10h",
            max_concurrent=1,
        )
    ends, inside, memory = (np.array(column) for column in zip(*clock.rows, strict=True))
    rows: list[dict[str, str | float]] = []
    for number in sorted({10, min(100, trials), trials}):
        last = min(len(ends) - 1, number + number // 4)
        first = max(1, min(number - number // 4, last - 4))
        total, of_optuna = ((column[last] - column[first]) / (last - first) for column in (ends, inside))
        rows.append({"trials": float(number), "s a trial": total, "Optuna": of_optuna, "ours": total - of_optuna})
    for row in rows:
        row["ours, of first"] = float(row["ours"]) / float(rows[0]["ours"])
    start = min(100, len(memory) // 2)
    growth = (memory[-1] - memory[start]) / (len(memory) - 1 - start)
    print(machine())
    print(table(rows))
    print(f"driver memory: {growth / 1000:.1f} kB a trial; largest MLflow lag {found['tracking_lag_seconds']:.1f} s")


if __name__ == "__main__":
    main()
