"""Pictures and final figures of the best trials: predictions on validation images, charts, scores at original size."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from orchestrator.tracking import Tracker
from trainables.checkpoint import load_model
from trainables.data import Prepared
from trainables.evaluation import evaluate_at_original_size
from trainables.inference import predict
from trainables.tasks import make_task

log = logging.getLogger(__name__)


def best_first(trials: list[dict[str, Any]], count: int = 3) -> list[dict[str, Any]]:
    """The best trials of a summary that have a checkpoint."""
    scored = [row for row in trials if row["metric"] is not None and row["checkpoint"]]
    return sorted(scored, key=lambda row: -row["metric"])[:count]


def log_best(trials: list[dict[str, Any]], data: Prepared, folder: Path, tracker: Tracker, *, synthetic: bool) -> None:
    """Draw the best trials of a summary and have the pictures written to MLflow.

    Pictures are worth having, and not worth losing a finished search for: what fails is logged and left out.
    """
    for row in best_first(trials):
        try:
            files, scores = draw(Path(row["checkpoint"]), data, folder / row["trial_id"], synthetic=synthetic)
        except Exception:
            log.exception("no pictures of trial %s", row["trial_id"])
            continue
        tracker.adopt(row["trial_id"])
        for file in files:
            tracker.log_picture(row["trial_id"], file, "validation")
        original = {f"original_size/{name}": value for name, value in scores.items()}
        tracker.log(row["trial_id"], original, step=row["epochs"])


def draw(checkpoint: Path, data: Prepared, folder: Path, *, synthetic: bool) -> tuple[list[Path], dict[str, float]]:
    """Draw a checkpoint's predictions on the validation images, and score them at original size.

    Pictures of synthetic data say so.

    Returns:
        PNG files in `folder`, and scores (empty for a task without masks).

    Raises:
        OSError: the checkpoint or a picture cannot be read or written.
    """
    model, description = load_model(checkpoint)
    task = make_task(description["task"], description["config"].get("classes", 3))
    rows = np.intersect1d(data.fold_rows(0)[1], task.rows(data))
    outputs = predict(model, data.images[rows])
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, picture in task.figures(data, rows, outputs).items():
        files.append(folder / f"{name}.png")
        shown = Image.fromarray(picture)
        if synthetic:
            place = (shown.width - 8, 4)
            ImageDraw.Draw(shown).text(place, "SYNTHETIC DATA", fill=(230, 140, 0), anchor="ra", font_size=14)
        shown.save(files[-1])
    scores = evaluate_at_original_size(task, outputs, data, rows) if task.name != "cls" else {}
    return files, scores
