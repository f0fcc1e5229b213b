"""Startup: how long --help and the first line of every command take, beside `python -c "import torch"`.

`python -m benchmarks.startup [--rounds N]`. In each round torch is imported, and every command is started twice in a
folder with nothing but an empty store: with --help until it ends, and to do its work until its first line can be read,
where it is killed. Medians over the rounds; a ratio is of times of one round. The first round, which fills caches, does
not count.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from statistics import median

from benchmarks.report import machine, table

LIMIT = 1.0  # seconds
#: Words with which each command comes as far as its imports, in a folder with an empty store.
COMMANDS: dict[str, list[str]] = {
    "check": [],
    "search": [],
    "ensemble": [],
    "leaderboard": ["--json"],
    "predict": ["--task", "seg", "--out", "out", "--model", "model", "a.png"],
    "evaluate": ["--data", ".", "--model", "model"],
    "report": ["--storage", "."],
    "eda": [],
}


def make_store(folder: Path) -> None:
    """An empty MLflow store, as far as is looked before MLflow is imported."""
    with closing(sqlite3.connect(folder / "mlflow.db")) as store:
        store.execute("CREATE TABLE experiments (name TEXT)")


def seconds(words: Sequence[str], folder: Path, *, first_line: bool = False) -> float:
    """Wall time of a Python process: to its end, or until it has said a line."""
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    started = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        assert process.stdout
        if first_line:
            said = process.stdout.readline()
            taken = time.perf_counter() - started
            process.kill()
            if b": loading " not in said:
                raise RuntimeError(f"{' '.join(words)}: {said.decode()}")
            return taken
        process.communicate()
    return time.perf_counter() - started


def measure(folder: Path) -> dict[str, tuple[float, float]]:
    """Seconds of one round: of --help and of the first line of every command, and of torch."""
    torch = seconds(["-c", "import torch"], folder)
    found = {"import torch": (torch, torch)}
    for name, words in COMMANDS.items():
        command = ["-m", f"orchestrator.{name}"]
        found[name] = (seconds([*command, "--help"], folder), seconds([*command, *words], folder, first_line=True))
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="number of rounds that count [7]")
    rounds = parser.parse_args(argv).rounds
    with tempfile.TemporaryDirectory() as scratch:
        make_store(Path(scratch))
        found = [measure(Path(scratch)) for _ in range(rounds + 1)][1:]
    rows: list[dict[str, str | float]] = []
    for name in found[0]:
        row: dict[str, str | float] = {"command": name}
        for place, words in enumerate(("--help", "first line")):
            times = [one[name][place] for one in found]
            of = median(taken / one["import torch"][place] for taken, one in zip(times, found, strict=True))
            row |= {f"{words}, s": median(times), f"{words}, of torch": of}
        rows.append(row)
    print(f"{machine()}\n\nMedians of {rounds} rounds.\n")
    print(table(rows))
    print("\n| measure | target | found |\n| --- | ---: | ---: |")
    for words in ("--help", "first line"):
        print(f"| slowest {words}, s | < {LIMIT} | {max(float(row[f'{words}, s']) for row in rows[1:]):.2f} |")


if __name__ == "__main__":
    main()
