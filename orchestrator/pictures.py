"""Pictures and final figures of every trial with a checkpoint: drawn as Ray tasks after a search, best first."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from orchestrator.drawing import draw, drawn
from orchestrator.resources import Resources
from orchestrator.store import first_line
from orchestrator.tracking import Tracker
from trainables import checkpoint
from trainables.data import Prepared

log = logging.getLogger(__name__)

#: Marks pictures that MLflow holds.
LOGGED = "in-mlflow"
#: MLflow shows them in this folder of a run's artifacts.
ARTIFACTS = "validation"


def _draw(folder: Path, home: Path, data: Prepared, synthetic: bool, gpu: bool, threads: int) -> None:
    draw(folder, home, data, synthetic=synthetic, gpu=gpu, threads=threads)


# Under a name of its own: see `orchestrator.ensemble.workers`.
_DRAW = ray.remote(max_retries=1)(_draw)


def best_first(trials: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The trials of a summary that have a checkpoint with weights, best first."""
    scored = [row for row in trials if row["metric"] is not None and row["checkpoint"]]
    ranked = sorted(scored, key=lambda row: (-row["metric"], row["seconds"]))
    return [row for row in ranked if (Path(row["checkpoint"]) / checkpoint.WEIGHTS).is_file()]


def log_all(
    trials: Sequence[dict[str, Any]],
    data: Prepared,
    folder: Path,
    share: Resources,
    tracker: Tracker,
    *,
    synthetic: bool,
    console: Console,
) -> list[Path]:
    """Draw the trials of a summary that have no pictures in `folder` yet, and have MLflow take what it lacks.

    Pictures are worth having, and not worth losing a finished search for: what fails is logged and left out, and an
    interrupt leaves out the rest.

    Args:
        share: what each drawing gets, and how many are at work.

    Returns:
        Folders that the tracker was given; mark them `LOGGED` once it has written them.
    """
    given: list[Path] = []

    def hand_over(row: dict[str, Any]) -> None:
        home = folder / row["trial_id"]
        scores = drawn(home, Path(row["checkpoint"]))
        if scores is None or (home / LOGGED).exists():
            return
        tracker.adopt(row["trial_id"])
        for file in sorted(home.glob("*.png")):
            tracker.log_picture(row["trial_id"], file, ARTIFACTS)
        original = {f"original_size/{name}": value for name, value in scores.items()}
        tracker.log(row["trial_id"], original, step=row["epochs"])
        given.append(home)

    ranked = best_first(trials)
    waiting = [row for row in ranked if drawn(folder / row["trial_id"], Path(row["checkpoint"])) is None]
    for row in ranked:
        if row not in waiting:
            hand_over(row)
    columns = (TextColumn("pictures"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    running: dict[Any, dict[str, Any]] = {}
    try:
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
            job = bar.add_task("", total=len(waiting))
            stored: Any = ray.put(data) if waiting else None
            while waiting or running:
                while waiting and len(running) < share.slots:
                    row = waiting.pop(0)
                    sized = _DRAW.options(num_cpus=share.cpus, num_gpus=share.gpus)
                    place = Path(row["checkpoint"]), folder / row["trial_id"]
                    running[sized.remote(*place, stored, synthetic, bool(share.gpus), share.cpus)] = row
                (task,), _ = ray.wait(list(running))
                row = running.pop(task)
                try:
                    ray.get(task)
                    hand_over(row)
                except ray.exceptions.RayError as error:
                    cause = getattr(error, "cause", None) or error
                    log.warning("no pictures of trial %s: %s", row["name"], first_line(cause))
                bar.advance(job)
    except KeyboardInterrupt:
        for task in running:
            ray.cancel(task, force=True)
        console.print("pictures left out")
    return given
