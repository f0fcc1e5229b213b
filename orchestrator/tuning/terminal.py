"""What a search says in the terminal: what it sets out to do, then its leaderboard and the commands to look further."""

from __future__ import annotations

import shlex
import sys
from datetime import datetime, timedelta

from rich.markup import escape
from rich.table import Table

from orchestrator.cluster.resources import TrialResources
from orchestrator.common.console import console, format_seconds, say
from orchestrator.config.search import SearchSettings
from orchestrator.config.types import short_source
from orchestrator.storage.storage import HOME, Storage
from orchestrator.tracking import ui_view
from orchestrator.tuning.budget import Budget
from orchestrator.tuning.ledger import Ledger
from orchestrator.tuning.plan import Plan
from orchestrator.tuning.reserve import Reserve
from orchestrator.tuning.summary import SearchSummary


def announce(settings: SearchSettings, plan: Plan, share: TrialResources) -> None:
    """Say what a launch sets out to do."""
    each = f"{share.cpus} core{'s' * (share.cpus > 1)}" + (f", {share.gpus:g} GPU" if share.gpus else "")
    budget = f", {format_seconds(settings.time_budget)} in all" if settings.time_budget else ""
    budget += f", at most {settings.gpu_hours:g} GPU-hours" if settings.gpu_hours else ""
    epochs = f"up to {settings.epochs} epochs" if settings.epochs else "each recipe's own epochs"
    line = (
        f"search  {settings.name}: {plan.trials} trials of {epochs} at {settings.image_size} px"
        f"{budget}; {share.slots} at a time, {each} each"
    )
    say(line)


def timetable(budget: Budget, reserve: Reserve | None) -> None:
    """Say how a time budget is shared."""
    left = budget.left()
    if reserve and left is not None:
        until = f"{datetime.now() + timedelta(seconds=max(0, left)):%H:%M}"
        then = "ensemble" if reserve.forecast.candidates else "pictures and the last words"
        say(f"time    search until about {until}, then about {format_seconds(reserve.after())} of {then}")


def resumed(ledger: Ledger) -> None:
    """Say what is done already, where a search goes on."""
    if ledger.launches > 1:
        ended = sum(record.ended for record in ledger.trials.values())
        goes_on = len(ledger.trials) - ended
        line = f"resumed after {format_seconds(ledger.spent)}: {ended} trials are done, {goes_on} go on"
        say(line)


def show(summary: SearchSummary, settings: SearchSettings, experiment_id: str) -> None:
    """Print the leaderboard of this search and the commands to look further."""
    valued = [(row.metric, row) for row in summary.trials if row.metric is not None]
    ranked = sorted(valued, key=lambda pair: -pair[0])
    where = "SYNTHETIC data" if summary.data.synthetic else escape(short_source(summary.data.source))
    sizes = summary.data.split_sizes
    table = Table(
        title=f"{escape(settings.name)}: validation {summary.metric} ({sizes['validation']} images, {where})",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    for name in ("rank", "trial", summary.metric, "epochs", "state", "time"):
        table.add_column(name, justify="right" if name in ("rank", "epochs", "time") else "left", no_wrap=True)
    for rank, (value, row) in enumerate(ranked, start=1):
        seconds = format_seconds(row.seconds)
        table.add_row(str(rank), escape(row.name), f"{value:.4f}", str(row.epochs), row.status, seconds)
    console().print(table)
    if not ranked:
        say("no trial finished an epoch: raise --time-budget, lower --image-size, or see the log")
    if summary.why:
        say(summary.why)
    python = shlex.quote(sys.executable)
    uri = shlex.quote(settings.tracking_uri)
    busy = f", {summary.slots} at a time, {summary.efficiency:.0%} of it spent training" if summary.efficiency else ""
    ends = f" ({summary.ends})" if summary.trials else ""
    lines = [f"{summary.status}: {len(summary.trials)} trials{ends} in {format_seconds(summary.wall_seconds)}{busy}"]
    if summary.status == "failed":
        lines.append(f"log               {settings.files.log}")
    resumed = f"{python} -m orchestrator.search --resume {shlex.quote(settings.name)}"
    lines.append(f"go on with        {resumed}{_storage(settings)}{_more(summary, settings)}")
    if summary.best and summary.best.checkpoint:
        best = Storage.of(settings.storage).shown(summary.best.checkpoint)
        lines.append(f"best checkpoint   {best}")
    lines += [
        f"summary           {settings.files.summary}",
        f"leaderboard       {python} -m orchestrator.leaderboard --tracking-uri {uri}",
    ]
    server = settings.tracking_uri
    if not server.startswith(("http://", "https://")):
        server = "http://127.0.0.1:5000"
        lines.append(f"in a browser      {python} -m mlflow ui --backend-store-uri {uri}")
    lines.append(f"   then open      {ui_view.address(server, experiment_id, summary.metric)}")
    for line in lines:
        say(line)


def _storage(settings: SearchSettings) -> str:
    return "" if settings.storage == HOME.absolute() else f" --storage {shlex.quote(str(settings.storage))}"


def _more(summary: SearchSummary, settings: SearchSettings) -> str:
    """What to raise, here to twice what it was, for a resumed search to have anything to do."""
    if settings.recipes_only:
        return ""
    flags = {
        "all trials": f" --trials {2 * len(summary.trials)}",
        "time budget": f" --time-budget {2 * (settings.time_budget or 0):.0f}s",
        "GPU-hours": f" --gpu-hours {2 * (settings.gpu_hours or 0):g}",
    }
    return next((flag for words, flag in flags.items() if words in summary.why), "")
