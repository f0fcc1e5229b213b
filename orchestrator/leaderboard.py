"""The ranking of all trials in the tracking store: `python -m orchestrator.leaderboard`."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from orchestrator.common.console import format_seconds
from orchestrator.config.types import TrackingError, tracking_uri
from orchestrator.tracking.ranking import BEST_PER, Ranking, TrialRow, rank, read_trials

TASKS = ("seg", "cls", "multi")


def print_rankings(rankings: list[Ranking], console: Console) -> None:
    """Print one table per ranking, headed by its data."""
    for number, ranking in enumerate(rankings):
        mark = ", synthetic" if ranking.synthetic else ""
        classes = " (2 classes)" if ranking.classes == 2 else ""
        head = f"{ranking.task}{classes} on {ranking.data_source} (data {ranking.data_fingerprint[:8]}{mark})"
        console.print("\n" * (number > 0), end="")
        console.print(head, style="bold", markup=False, highlight=False, soft_wrap=True)
        console.print(_table(ranking), markup=False, highlight=False)


def as_json(rankings: list[Ranking]) -> str:
    """A JSON list, one object a trial; `rank` is the place within task and data fingerprint, null without a value."""
    ranked = [{"rank": place, **asdict(row)} for ranking in rankings for place, row in enumerate(ranking.ranked, 1)]
    unranked = [{"rank": None, **asdict(row)} for ranking in rankings for row in ranking.unranked]
    return json.dumps(ranked + unranked, indent=2)


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Returns its exit code: 0, or 2 where there is no store to read."""
    options = _parser().parse_args(argv)
    try:
        uri = tracking_uri(options.tracking_uri)
        rows = read_trials(uri, options.experiment, options.task)
    except TrackingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    rankings = rank(rows, options.top, options.best_per)
    if options.json:
        print(as_json(rankings))
        return 0
    console = Console()
    if not console.is_terminal:
        console.width = 160  # a file or a pipe has no width to fit
    print_rankings(rankings, console)
    if not rankings:
        print(f"no trials{f' of task {options.task}' if options.task else ''} yet; run python -m orchestrator.search")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m orchestrator.leaderboard",
        description="Rank the trials of all searches; trials on different data never share a ranking.",
        allow_abbrev=False,
    )
    parser.add_argument("--task", choices=TASKS, help="one task [all]")
    parser.add_argument("--top", type=_count, metavar="N", help="the best N of each ranking [all]")
    parser.add_argument("--best-per", choices=BEST_PER, help="the best trial of each of these")
    parser.add_argument("--json", action="store_true", help="a JSON list of trials")
    parser.add_argument("--tracking-uri", metavar="URI", help="MLflow store [MLFLOW_TRACKING_URI, else mlflow.db here]")
    parser.add_argument("--experiment", metavar="NAME", help="one MLflow experiment [all]")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a number from 1, got {text}")
    return int(text)


def _table(ranking: Ranking) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("#", f"best {ranking.primary}", "epochs", "time"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("trial", overflow="fold", style="bold")
    for name in ("state", "search", "run"):
        table.add_column(name, overflow="fold")
    for place, row in enumerate(ranking.ranked, 1):
        table.add_row(str(place), f"{row.best:.4f}", *_cells(row))
    for row in ranking.unranked:
        table.add_row("-", "-", *_cells(row))
    return table


def _cells(row: TrialRow) -> tuple[str, ...]:
    seconds = "-" if row.seconds is None else format_seconds(row.seconds)
    return str(row.epochs), seconds, row.name, row.stopped or row.status.lower(), row.search, row.run_id[:8]


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # "| head" ends it quietly
    sys.exit(main())
