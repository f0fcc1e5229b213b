"""What a search leaves behind: summary.json, the leaderboard in the terminal, and the commands to look further."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from orchestrator.common.console import console, format_seconds, say
from orchestrator.config.data import split_sizes
from orchestrator.config.search import SearchSettings
from orchestrator.storage.atomic import write_text
from orchestrator.storage.run_folder import RunFolder
from orchestrator.storage.storage import HOME, Storage
from orchestrator.tracking import ui_view
from orchestrator.tuning.budget import Budget
from orchestrator.tuning.callback import SearchCallback
from orchestrator.tuning.ledger import Ledger, TrialRecord, label
from trainables import checkpoint
from trainables.data import Prepared


def summarise(
    settings: SearchSettings,
    data: Prepared,
    ledger: Ledger,
    callback: SearchCallback,
    budget: Budget,
    *,
    slots: int,
) -> dict[str, Any]:
    """The search as plain values, all its launches together.

    `efficiency` is the sum of the trials' training seconds over (slots x seconds from the first trial's start to the
    last's end), the time between launches left out. `why`: what ended the search.
    """
    records = [record for record in ledger.trials.values() if record.began is not None]
    rows = [_row(record, callback, settings.folder) for record in records]
    scored = [row for row in rows if row["metric"] is not None and row["checkpoint"]]
    began = [record.began for record in records if record.began is not None]
    span = max((record.stopped for record in records), default=0.0) - min(began, default=0.0)
    failed = budget.failed() or all(row["metric"] is None for row in rows)
    return {
        "task": settings.task,
        "name": settings.name,
        "status": "interrupted" if budget.interrupted else "failed" if failed else "done",
        "why": budget.why(),
        "metric": callback.metric.removeprefix("best/"),
        "image_size": settings.image_size,
        "data": {
            "fingerprint": data.data_fingerprint,
            "prepared_fingerprint": data.prepared_fingerprint,
            "source": settings.source,
            "synthetic": data.synthetic,
            "images": len(data.images),
            "groups": len(set(data.groups.tolist())),
            "split_sizes": split_sizes(data),
            "left_out": data.left_out,
        },
        "trials": rows,
        "best": max(scored, key=lambda row: (row["metric"], -row["seconds"]), default=None),
        "wall_seconds": round(ledger.clock(), 3),
        "launches": ledger.launches,
        "spent": spent(records),
        "slots": slots,
        "efficiency": round(sum(row["train_seconds"] for row in rows) / (slots * span), 4) if span > 0 else None,
    }


def spent(records: Iterable[TrialRecord]) -> dict[str, Any]:
    """What trials cost: seconds in a slot and GPU-hours, in all and by architecture."""
    by: dict[str, dict[str, float]] = {}
    for record in records:
        total = by.setdefault(record.config["architecture"], {"trials": 0, "seconds": 0.0, "gpu_hours": 0.0})
        total["trials"] += 1
        total["seconds"] = round(total["seconds"] + record.seconds, 3)
        total["gpu_hours"] = round(total["gpu_hours"] + record.gpu_seconds / 3600, 6)
    return {
        "seconds": round(sum(total["seconds"] for total in by.values()), 3),
        "gpu_hours": round(sum(total["gpu_hours"] for total in by.values()), 6),
        "by_architecture": by,
    }


def _row(record: TrialRecord, callback: SearchCallback, folder: Path) -> dict[str, Any]:
    return {
        "trial_id": record.trial_id,
        "mlflow_run_id": "",  # known once MLflow has it
        "name": label(record.config, record.number),
        "status": record.state,
        "reason": record.reason,
        "architecture": record.config["architecture"],
        "encoder": record.config["encoder"],
        "recipe": record.config["recipe"],
        "weights_source": callback.weights_source(record.config),
        "metric": record.result.get(callback.metric),
        "epochs": record.epoch,
        "seconds": round(record.seconds, 3),
        "train_seconds": round(record.result.get("train_seconds", 0.0), 3),
        # Not one that is older than the best value: the trial failed before the next was written.
        "checkpoint": str(folder / record.checkpoint) if record.saved else None,
    }


def figures(found: dict[str, Any]) -> dict[str, float]:
    """The search's own metrics in MLflow. None is named best/...: the parent must not stand in its trials' ranking."""
    spent = found["spent"]
    values = {
        "search/wall_seconds": found["wall_seconds"],
        "search/efficiency": found["efficiency"] or 0.0,
        "search/tracking_lag_seconds": found["tracking_lag_seconds"],
        "spent/seconds": spent["seconds"],
        "spent/gpu_hours": spent["gpu_hours"],
    }
    for name, total in spent["by_architecture"].items():
        values |= {f"spent/seconds/{name}": total["seconds"], f"spent/gpu_hours/{name}": total["gpu_hours"]}
    if found["best"]:
        values[f"search/best_{found['metric']}"] = found["best"]["metric"]
    return {name.replace(":", "/"): value for name, value in values.items()}


def write(folder: Path, summary: dict[str, Any]) -> None:
    """Write summary.json under a temporary name, then rename."""
    write_text(RunFolder(folder).summary, json.dumps(summary, indent=2) + "\n")


def show(summary: dict[str, Any], settings: SearchSettings, experiment_id: str) -> None:
    """Print the leaderboard of this search and the commands to look further."""
    ranked = sorted((row for row in summary["trials"] if row["metric"] is not None), key=lambda row: -row["metric"])
    where = "SYNTHETIC data" if summary["data"]["synthetic"] else escape(Path(summary["data"]["source"]).name)
    sizes = summary["data"]["split_sizes"]
    table = Table(
        title=f"{escape(settings.name)}: validation {summary['metric']} ({sizes['validation']} images, {where})",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    for name in ("rank", "trial", summary["metric"], "epochs", "state", "time"):
        table.add_column(name, justify="right" if name in ("rank", "epochs", "time") else "left", no_wrap=True)
    for rank, row in enumerate(ranked, start=1):
        seconds = format_seconds(row["seconds"])
        table.add_row(
            str(rank), escape(row["name"]), f"{row['metric']:.4f}", str(row["epochs"]), row["status"], seconds
        )
    console().print(table)
    if not ranked:
        say("no trial finished an epoch: raise --time-budget, lower --image-size, or see the log")
    if summary["why"]:
        say(summary["why"])
    python = shlex.quote(sys.executable)
    uri = shlex.quote(settings.tracking_uri)
    lines = [
        f"{summary['status']}: {len(summary['trials'])} trials in {format_seconds(summary['wall_seconds'])}"
        + (f", {summary['slots']} at a time, efficiency {summary['efficiency']:.2f}" if summary["efficiency"] else ""),
    ]
    if summary["status"] == "failed":
        lines.append(f"log               {settings.files.log}")
    resumed = f"{python} -m orchestrator.search --resume {shlex.quote(settings.name)}"
    lines.append(f"go on with        {resumed}{_storage(settings)}{_more(summary['why'], settings)}")
    if summary["best"]:
        best = Storage.of(settings.storage).shown(Path(summary["best"]["checkpoint"]))
        lines.append(f"best checkpoint   {best}")
    lines += [
        f"summary           {settings.files.summary}",
        f"leaderboard       {python} -m orchestrator.leaderboard --tracking-uri {uri}",
    ]
    server = settings.tracking_uri
    if not server.startswith(("http://", "https://")):
        server = "http://127.0.0.1:5000"
        lines.append(f"in a browser      {python} -m mlflow ui --backend-store-uri {uri}")
    lines.append(f"   then open      {ui_view.address(server, experiment_id, summary['metric'])}")
    for line in lines:
        say(line)


def _storage(settings: SearchSettings) -> str:
    return "" if settings.storage == HOME.absolute() else f" --storage {shlex.quote(str(settings.storage))}"


def _more(why: str, settings: SearchSettings) -> str:
    """What to raise, for a resumed search to have anything to do."""
    if settings.recipes_only:
        return ""
    flags = {"all trials": " --trials N", "time budget": " --time-budget T", "GPU-hours": " --gpu-hours H"}
    return next((flag for words, flag in flags.items() if words in why), "")


def best_first(trials: Sequence[dict[str, Any]], storage: Storage) -> list[dict[str, Any]]:
    """The trials of a summary that have a checkpoint with weights, best first."""
    scored = [row for row in trials if row["metric"] is not None and row["checkpoint"]]
    ranked = sorted(scored, key=lambda row: (-row["metric"], row["seconds"]))
    return [row for row in ranked if storage.has(Path(row["checkpoint"]) / checkpoint.WEIGHTS)]
