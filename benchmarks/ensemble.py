"""An ensemble as it was, every candidate on every fold, beside what it is now, from the same candidates in one run.

    python -m benchmarks.ensemble [--task seg] [--top-k 4] [--seeds 3] [--folder DIR] [--code OLD] [search's flags]

makes a search for each seed (`--data DIR --trials 6 ...` are its flags; without any it is of the phantom), unless the
folder has it from an earlier run. Each way works on a copy of it without fold models, boosted members and predictions,
so that nothing is shared. With the checkout of an older version (--code) that one searches and builds the first;
without it this one does, with --all-folds. The winners are compared on the held-out images that both have.
"""

from __future__ import annotations

import argparse
import os
import re
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
    """An ensemble, how long its command was said to take and took, and its winner's held-out predictions."""

    result: EnsembleResult
    said: str
    seconds: float
    networks: int
    held_out: StoredPredictions


def run(command: str, folder: Path, flags: Sequence[str], code: Path) -> str:
    """Run a command of a checkout on the runs and the store of a folder; returns what it said."""
    where = ["--storage", str(folder / "runs"), "--tracking-uri", f"sqlite:///{folder}/mlflow.db"]
    said = folder / f"{command}.txt"
    with said.open("w") as output:
        words = [sys.executable, "-m", f"orchestrator.{command}", *where, *flags]
        subprocess.run(words, cwd=folder, env={**os.environ, "PYTHONPATH": str(code)}, stdout=output, check=True)
    return said.read_text()


def build(folder: Path, copy: Path, flags: Sequence[str], code: Path) -> Built:
    """The ensemble of a copy of a search's folder, by the command of a checkout."""
    apart = shutil.ignore_patterns("folds", "ensemble", "ensemble.json", "predictions", "winners")
    shutil.copytree(folder / "runs", copy / "runs", ignore=apart)
    shutil.copy(folder / "mlflow.db", copy)
    started = time.perf_counter()
    output = run("ensemble", copy, ["--promote", "never", *flags], code)
    seconds = time.perf_counter() - started
    said = re.search(r"^ +about (.+?):", output, re.MULTILINE)
    (file,) = (copy / "runs").glob("*/ensemble.json")
    result = EnsembleResult.read(file)
    held_out = StoredPredictions.load(copy / "runs" / ".cache" / "winners" / result.digest / HELD_OUT)
    networks = len(list((copy / "runs").glob("*/folds/*/fold-?")))
    return Built(result, said[1] if said else "", seconds, networks, held_out)


def main(argv: Sequence[str] | None = None) -> None:
    """Build both of each search, and print what was gained and lost."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--task", default="seg")
    parser.add_argument("--top-k", default="4")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="keeps the searches")
    parser.add_argument("--code", type=Path)
    given, flags_of_search = parser.parse_known_args(argv)
    with tempfile.TemporaryDirectory() as scratch:
        compare(given, flags_of_search, (given.folder or Path(scratch)).resolve())


def compare(given: argparse.Namespace, flags_of_search: Sequence[str], home: Path) -> None:
    """The tables, of searches below a folder."""
    flags = ["--task", given.task, "--top-k", given.top_k]
    code = given.code.resolve() if given.code else HERE
    ways = {"as it was": (flags if given.code else [*flags, "--all-folds"], code), "now": (flags, HERE)}
    rows, ratios, differences = [], [], []
    for seed in range(given.seeds):
        folder = home / f"seed-{seed}"
        if not list(folder.glob("runs/*/summary.json")):
            folder.mkdir(parents=True, exist_ok=True)
            search = ["--task", given.task, "--no-ensemble", "--seed", str(seed), *flags_of_search]
            run("search", folder, search, code)
        built: dict[str, Built] = {}
        for way, (words, checkout) in ways.items():
            with tempfile.TemporaryDirectory() as copy:
                built[way] = one = build(folder, Path(copy), words, checkout)
            row = one.result.winning
            rows.append(
                {
                    "seed": seed,
                    "ensemble": way,
                    "said": one.said,
                    "wall seconds": f"{one.seconds:.0f}",
                    "fold models": one.networks,
                    "winner": row.name,
                    "held out": f"{row.score:.4f} ±{row.standard_error:.4f}",
                    "images": one.result.compared.images,
                    "test": f"{one.result.test.value:.4f}",
                }
            )
            print(rows[-1], file=sys.stderr)
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
