"""What a trial costs beyond its training: bare processes, this project, and the libraries' documented recipe.

`python -m benchmarks.overhead` trains the same trials (a small U-Net at 64 px on phantom images, one thread, two side
by side, none stopped early) in three ways, by turns, and prints ratios: medians of 3 rounds, each ratio from one round.

Every figure comes from when trials ended. With `n` trials that ended at e[1] <= ... <= e[n] on two slots, warm is what
follows each slot's first trial: (n - 2) trials in e[n] - e[2] seconds. For trials of equal length that is the rate of
two busy slots, whatever their offset: neither the start nor an idle slot at the end is in it. Cold is all n trials by
the wall clock: of the whole command, with process start, imports, Ray and a new database (images and prepared data are
there); of the bare processes, from when their imports and data are loaded. Efficiency is a rate divided by the bare
one. The recipe reads its images from files, so its trials are longer too: that is a part of what it costs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

from mlflow import MlflowClient

from benchmarks._work import SLOTS, prepared
from benchmarks.report import machine, table
from orchestrator.cluster.session import WORKER_ENVIRONMENT

ROOT = Path(__file__).parent.parent
LEAST_EPOCHS = 3
#: Least ratio of our rate to another's, by seconds a trial and system.
TARGETS: dict[tuple[float, str], float] = {
    (2, "bare"): 0.75,
    (10, "bare"): 0.90,
    (2, "recipe"): 5.0,
    (20, "recipe"): 1.4,
}
#: In MLflow, by system: the metric that counts epochs, and which runs are trials.
TRACKED = {"ours": ("epoch", "tags.kind = 'trial'"), "recipe": ("training_iteration", "")}
#: Seconds a trial (aimed at), and how many trials each system trains in a round.
Cases = dict[float, dict[str, int]]
FULL: Cases = {
    2: {"bare": 10, "ours": 14, "recipe": 6},
    10: {"bare": 6, "ours": 8},
    20: {"bare": 4, "ours": 4, "recipe": 4},
}
QUICK: Cases = {2: {"bare": 8, "ours": 12, "recipe": 6}}


@dataclass(frozen=True)
class Timing:
    """When each trial ended, ascending, and the seconds that all of them took, start included."""

    ends: list[float]
    wall: float

    @property
    def warm(self) -> float:
        """Trials a second after each slot's first."""
        return (len(self.ends) - SLOTS) / (self.ends[-1] - self.ends[SLOTS - 1])

    @property
    def cold(self) -> float:
        """Trials a second, start included."""
        return len(self.ends) / self.wall


#: Of one case: by system, a timing a round.
Timings = dict[str, list[Timing]]


def bare(folder: Path, epochs: int, trials: int) -> Timing:
    """As many bare processes as slots, released together.

    Raises:
        RuntimeError: one of them failed.
    """
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    shares = [list(range(trials))[slot::SLOTS] for slot in range(SLOTS)]
    processes = [_start("_bare", str(folder), epochs, share, **pipes) for share in shares]
    ready = [process.stdout.readline() for process in processes if process.stdout]
    started = time.time()
    for process in processes:
        if process.stdin:
            print(file=process.stdin, flush=True)
    ends = sorted(float(line) for process in processes for line in process.communicate()[0].split())
    if ready != ["ready\n"] * SLOTS or len(ends) != trials:
        raise RuntimeError("a bare process failed; its message is above")
    return Timing(ends, ends[-1] - started)


def tracked(system: str, folder: Path, name: str, epochs: int, trials: int) -> Timing:
    """A search in a process of its own; when its trials ended is what MLflow holds.

    Raises:
        RuntimeError: not every trial trained every epoch.
    """
    started = time.time()
    process = _start(f"_{system}", str(folder), name, epochs, trials, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = process.communicate()[0]
    wall = time.time() - started
    counter, those = TRACKED[system]
    client = MlflowClient(f"sqlite:///{folder}/{name}.db")
    runs = client.search_runs([found.experiment_id for found in client.search_experiments()], those)
    if [run.data.metrics.get(counter) for run in runs] != [epochs] * trials:
        raise RuntimeError(f"{name}: not every trial trained {epochs} epochs; it said\n{output[-4000:]}")
    return Timing(sorted(run.info.end_time / 1000 for run in runs), wall)


def measure(folder: Path, cases: Cases, rounds: int) -> dict[float, Timings]:
    """All systems by turns, one case after the other, `rounds` times over; by seconds a trial."""
    epochs = 10
    epoch = SLOTS / bare(folder, epochs, trials=2 * SLOTS).warm / epochs
    _say(f"an epoch takes {epoch:.3f} s in a bare process beside another")
    timings: dict[float, Timings] = {seconds: {system: [] for system in cases[seconds]} for seconds in cases}
    for turn, seconds in product(range(rounds), cases):
        epochs = max(LEAST_EPOCHS, round(seconds / epoch))
        for system, trials in cases[seconds].items():
            name = f"{system}-{seconds:g}s-{turn + 1}"
            timing = bare(folder, epochs, trials) if system == "bare" else tracked(system, folder, name, epochs, trials)
            timings[seconds][system].append(timing)
            _say(f"{name}: {trials} trials of {epochs} epochs, {SLOTS / timing.warm:.2f} s each, {timing.wall:.0f} s")
    return timings


def ratios(timings: Timings, system: str, other: str, rate: str = "warm") -> list[float]:
    """Rate of a system divided by another's, for each round."""
    pairs = zip(timings[system], timings[other], strict=True)
    return [getattr(one, rate) / getattr(two, rate) for one, two in pairs]


def rows(timings: dict[float, Timings]) -> list[dict[str, str | float]]:
    """A line for each case and system, medians of the rounds."""
    lines: list[dict[str, str | float]] = []
    for seconds, of_case in timings.items():
        limits = of_case["bare"]
        for system, found in of_case.items():
            beyond = [SLOTS / one.warm - SLOTS / limit.warm for one, limit in zip(found, limits, strict=True)]
            lines.append(
                {
                    "trial, s": f"{seconds:g}",
                    "system": system,
                    "trials": len(found[0].ends),
                    "s a trial": SLOTS / median(timing.warm for timing in found),
                    "beyond bare, s": median(beyond),
                    "trials an hour": 3600 * median(timing.warm for timing in found),
                    "efficiency, warm": median(ratios(of_case, system, "bare")),
                    "efficiency, cold": median(ratios(of_case, system, "bare", "cold")),
                }
            )
    return lines


def verdicts(timings: dict[float, Timings]) -> list[dict[str, str | float]]:
    """A line for each target that was measured."""
    lines: list[dict[str, str | float]] = []
    for (seconds, other), target in TARGETS.items():
        if other in timings.get(seconds, {}):
            found = ratios(timings[seconds], "ours", other)
            lines.append(
                {
                    "trial, s": f"{seconds:g}",
                    "ours to": other,
                    "ratio, warm": median(found),
                    "lowest": min(found),
                    "highest": max(found),
                    "target": target,
                    "reached": "yes" if median(found) >= target else "no",
                }
            )
    return lines


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.overhead", description="what a trial costs beyond its training"
    )
    parser.add_argument("--quick", action="store_true", help="one round, trials of 2 s only")
    cases, rounds = (QUICK, 1) if parser.parse_args(argv).quick else (FULL, 3)
    with tempfile.TemporaryDirectory() as folder:
        prepared(Path(folder))  # before the first command: its images and prepared data are there for all
        timings = measure(Path(folder), cases, rounds)
    print(f"{machine()}\n\n{table(rows(timings))}\n\n{table(verdicts(timings))}")


def _start(module: str, *arguments: Any, **pipes: Any) -> subprocess.Popen[str]:
    """A fresh process that calls the module's `run`."""
    code = f"import json, sys; from benchmarks import {module}; {module}.run(*json.loads(sys.argv[1]))"
    command = [sys.executable, "-c", code, json.dumps(arguments)]
    return subprocess.Popen(command, cwd=ROOT, env=os.environ | WORKER_ENVIRONMENT, text=True, **pipes)


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
