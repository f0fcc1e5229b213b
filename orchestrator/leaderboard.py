"""Rank the trials of all searches; trials on different data never share a ranking."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field
from rich.console import Console
from rich.table import Table

from orchestrator.common.console import complain, console, format_seconds, shown_on
from orchestrator.common.harmless import harmless
from orchestrator.config.cli import leave, run_command, starting
from orchestrator.config.command import CommandSettings
from orchestrator.config.types import BestPer, Store, TaskName, Text, shown_uri, tracking_uri
from orchestrator.tracking.sqlite import check_sqlite

if TYPE_CHECKING:
    from orchestrator.tracking.ranking import Ranking, TrialRow


class LeaderboardSettings(CommandSettings):
    """Settings of one look at the rankings."""

    GROUPS: ClassVar[dict[str, tuple[str, ...]]] = {
        "which trials": ("task", "top", "best_per", "tracking_uri", "experiment"),
        "how they are shown": ("as_json",),
    }
    EXAMPLES: ClassVar[tuple[str, ...]] = ("--task seg --best-per architecture", "--top 3 --json")

    task: TaskName | None = Field(None, description="one task [all]")
    top: int | None = Field(None, ge=1, title="N", description="the best N of each ranking [all]")
    best_per: BestPer | None = Field(None, description="the best trial of each of these [all trials]")
    as_json: bool = Field(False, alias="json", description="a JSON list of trials, in place of tables")
    tracking_uri: Store = Field("", title="URI", description="MLflow store [MLFLOW_TRACKING_URI, else mlflow.db here]")
    experiment: Text = Field("", title="NAME", description="one MLflow experiment [all]")


def print_rankings(rankings: list[Ranking]) -> None:
    """Print one table per ranking, headed by its data."""
    out = console()
    for number, ranking in enumerate(rankings):
        mark = ", synthetic" if ranking.synthetic else ""
        classes = " (2 classes)" if ranking.classes == 2 else ""
        head = f"{ranking.task}{classes} on {ranking.data_source} (data {ranking.data_fingerprint[:8]}{mark})"
        out.print("\n" * (number > 0), end="")
        out.print(harmless(head), style="bold", markup=False, highlight=False, soft_wrap=True)
        out.print(_table(ranking), markup=False, highlight=False)


def as_json(rankings: list[Ranking]) -> str:
    """A JSON list, one object a trial; `rank` is the place within task and data fingerprint, null without a value."""
    ranked = [{"rank": place, **asdict(row)} for ranking in rankings for place, row in enumerate(ranking.ranked, 1)]
    unranked = [{"rank": None, **asdict(row)} for ranking in rankings for row in ranking.unranked]
    return json.dumps(ranked + unranked, indent=2)


def show(settings: LeaderboardSettings) -> None:
    """Print the rankings, or their JSON list.

    Raises:
        TrackingError: there is no store to read, or no such experiment.
    """
    uri = tracking_uri(settings.tracking_uri)
    check_sqlite(uri, create=False)
    # On standard error: standard output is the table, or JSON.
    with starting(f"leaderboard of {shown_uri(uri)}: loading MLflow", complain):
        from orchestrator.tracking.ranking import rank, read_trials
    rows = read_trials(uri, settings.experiment or None, settings.task)
    rankings = rank(rows, settings.top, settings.best_per)
    if settings.as_json:
        print(as_json(rankings))
        return
    # A file or a pipe has no width to fit.
    with shown_on(Console(width=None if console().is_terminal else 160)):
        print_rankings(rankings)
    if not rankings:
        print(f"no trials{f' of task {settings.task}' if settings.task else ''} yet; run python -m orchestrator.search")


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return run_command("leaderboard", show, LeaderboardSettings, argv, __doc__, piped=True)


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
    names = (row.name, row.stopped or row.status.lower(), row.search, row.run_id[:8])
    return str(row.epochs), seconds, *map(harmless, names)


if __name__ == "__main__":
    leave(main())
