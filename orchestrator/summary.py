"""What a search leaves behind: summary.json, the leaderboard in the terminal, and the commands to look further."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from orchestrator import views
from orchestrator.callback import SearchCallback
from orchestrator.dataset import split_sizes
from orchestrator.progress import format_seconds
from orchestrator.settings import SearchSettings
from trainables.data import Prepared

FILE = "summary.json"


def summarise(
    settings: SearchSettings,
    data: Prepared,
    callback: SearchCallback,
    *,
    primary: str,
    synthetic: bool,
    slots: int,
    status: str,
    wall_seconds: float,
) -> dict[str, Any]:
    """The search as plain values.

    `efficiency` is the sum of the trials' training seconds over (slots x seconds from the first trial's start to the
    last's end).
    """
    rows = []
    for trial in callback.trials.values():
        result = trial.last_result or {}
        rows.append(
            {
                "trial_id": trial.trial_id,
                "mlflow_run_id": "",  # known once MLflow has it
                "name": callback.labels[trial.trial_id],
                "status": callback.states[trial.trial_id],
                "architecture": trial.config["architecture"],
                "encoder": trial.config["encoder"],
                "recipe": trial.config["recipe"],
                "weights_source": callback.weights_source(trial.config),
                "metric": result.get(f"best/{primary}"),
                "epochs": result.get("training_iteration", 0),
                "seconds": round(callback.ended[trial.trial_id] - callback.began[trial.trial_id], 3),
                "train_seconds": round(result.get("train_seconds", 0.0), 3),
                "checkpoint": trial.checkpoint.path if trial.checkpoint else None,
            }
        )
    scored = [row for row in rows if row["metric"] is not None and row["checkpoint"]]
    span = max(callback.ended.values(), default=0.0) - min(callback.began.values(), default=0.0)
    return {
        "task": settings.task,
        "name": settings.name,
        "status": status,
        "metric": primary,
        "image_size": settings.image_size,
        "data": {
            "fingerprint": data.data_fingerprint,
            "prepared_fingerprint": data.prepared_fingerprint,
            "source": settings.source,
            "synthetic": synthetic,
            "images": len(data.images),
            "groups": len(set(data.groups.tolist())),
            "split_sizes": split_sizes(data),
            "left_out": data.left_out,
        },
        "trials": rows,
        "best": max(scored, key=lambda row: (row["metric"], -row["seconds"]), default=None),
        "wall_seconds": round(wall_seconds, 3),
        "slots": slots,
        "efficiency": round(sum(row["train_seconds"] for row in rows) / (slots * span), 4) if span > 0 else None,
    }


def write(folder: Path, summary: dict[str, Any]) -> None:
    """Write summary.json under a temporary name, then rename."""
    part = folder / f"{FILE}.part"
    part.write_text(json.dumps(summary, indent=2) + "\n")
    os.replace(part, folder / FILE)


def show(summary: dict[str, Any], settings: SearchSettings, experiment_id: str, console: Console) -> None:
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
    console.print(table)
    if not ranked:
        console.print(
            "no trial finished an epoch: raise --time-budget, lower --image-size, or see the log", highlight=False
        )
    python = shlex.quote(sys.executable)
    uri = shlex.quote(settings.tracking_uri)
    lines = [
        f"{summary['status']}: {len(summary['trials'])} trials in {format_seconds(summary['wall_seconds'])}"
        + (f", {summary['slots']} at a time, efficiency {summary['efficiency']:.2f}" if summary["efficiency"] else ""),
    ]
    if summary["status"] != "done":
        lines.append(f"log               {settings.folder / 'search.log'}")
    if summary["best"]:
        lines.append(f"best checkpoint   {summary['best']['checkpoint']}")
    lines += [
        f"summary           {settings.folder / FILE}",
        f"leaderboard       {python} -m orchestrator.leaderboard --tracking-uri {uri}",
    ]
    server = settings.tracking_uri
    if not server.startswith(("http://", "https://")):
        server = "http://127.0.0.1:5000"
        lines.append(f"in a browser      {python} -m mlflow ui --backend-store-uri {uri}")
    lines.append(f"   then open      {views.address(server, experiment_id, summary['metric'])}")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
