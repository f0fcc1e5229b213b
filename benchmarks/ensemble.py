"""An ensemble as it was, every candidate on every fold, beside what it is now, from the same candidates in one run.

    python -m benchmarks.ensemble FOLDER [FOLDER ...] [--task seg] [--top-k 4] [--code OLD]

Each folder holds one finished search (`runs/NAME` and `mlflow.db`), one for each seed. Each way works on a copy of it
without fold models, boosted members and predictions, so that nothing is shared. With the checkout of an older version
(--code) that one builds the first; without it this one does, with --all-folds. The winners are compared on the held-out
images that both have.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.report import machine, table
from orchestrator.ensemble.result import EnsembleResult
from orchestrator.scoring.predictions import HELD_OUT, StoredPredictions

HERE = Path(__file__).resolve().parents[1]


class Built(NamedTuple):
    """An ensemble, how long its command took, and its winner's held-out predictions."""

    result: EnsembleResult
    seconds: float
    networks: int
    held_out: StoredPredictions


def build(folder: Path, copy: Path, flags: Sequence[str], code: Path) -> Built:
    """The ensemble of a copy of a search's folder, by the command of a checkout."""
    apart = shutil.ignore_patterns("folds", "ensemble", "ensemble.json", "predictions", "winners")
    shutil.copytree(folder / "runs", copy / "runs", ignore=apart)
    shutil.copy(folder / "mlflow.db", copy)
    where = ["--storage", str(copy / "runs"), "--tracking-uri", f"sqlite:///{copy}/mlflow.db"]
    command = [sys.executable, "-m", "orchestrator.ensemble", *where, "--promote", "never", *flags]
    started = time.perf_counter()
    with (copy / "output.txt").open("w") as output:
        subprocess.run(command, cwd=copy, env={**os.environ, "PYTHONPATH": str(code)}, stdout=output, check=True)
    seconds = time.perf_counter() - started
    (file,) = (copy / "runs").glob("*/ensemble.json")
    result = EnsembleResult.read(file)
    held_out = StoredPredictions.load(copy / "runs" / ".cache" / "winners" / result.digest / HELD_OUT)
    networks = len(list((copy / "runs").glob("*/folds/*/fold-?")))
    return Built(result, seconds, networks, held_out)


def main(argv: Sequence[str] | None = None) -> None:
    """Build both of each search, and print what was gained and lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--task", default="seg")
    parser.add_argument("--top-k", default="4")
    parser.add_argument("--code", type=Path)
    given = parser.parse_args(argv)
    flags = ["--task", given.task, "--top-k", given.top_k]
    ways = {
        "as it was": (flags, given.code.resolve()) if given.code else ([*flags, "--all-folds"], HERE),
        "now": (flags, HERE),
    }
    rows, ratios, differences = [], [], []
    for folder in given.folders:
        built: dict[str, Built] = {}
        for way, (words, code) in ways.items():
            with tempfile.TemporaryDirectory() as scratch:
                built[way] = one = build(folder.resolve(), Path(scratch), words, code)
            row = one.result.winning
            rows.append(
                {
                    "search": folder.name,
                    "ensemble": way,
                    "wall seconds": f"{one.seconds:.0f}",
                    "fold models": one.networks,
                    "winner": row.name,
                    "held out": f"{row.score:.4f} ±{row.standard_error:.4f}",
                    "images": one.result.compared.images,
                    "test": f"{one.result.test.value:.4f}",
                }
            )
        was, now = built.values()
        ratios.append(now.seconds / was.seconds)
        paired = now.held_out.difference(was.held_out, given.task)
        differences.append((paired[0] if paired else 0.0) / (was.result.winning.standard_error or 1.0))
    print(machine())
    print(table(rows))
    shown = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    print(f"wall time, now by before: {shown}")
    shown = ", ".join(f"{difference:+.2f}" for difference in differences)
    print(f"winner now minus before on the same held-out images, in standard errors of before's figure: {shown}")
    print(f"mean: {sum(differences) / len(differences):+.2f}")


if __name__ == "__main__":
    main()
