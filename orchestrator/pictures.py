"""Pictures of the best trials' predictions on validation images, for MLflow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from trainables.checkpoint import load_model
from trainables.data import CLASSES, Prepared
from trainables.tasks import TASKS
from trainables.training import predict

IMAGES = 12


def draw(checkpoint: Path, data: Prepared, file: Path) -> Path:
    """Draw a checkpoint's predictions on validation images, spread over the classes, as a PNG.

    Raises:
        OSError: the checkpoint or the picture cannot be read or written.
    """
    model, description = load_model(checkpoint)
    task = TASKS[description["task"]]
    rows = _spread(data)
    logits = predict(model, data.images[rows]).numpy()
    captions = [_caption(data, row) for row in rows]
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(task.picture(data.images[rows], data.masks[rows], logits, captions)).save(file)
    return file


def best_first(trials: list[dict[str, Any]], count: int = 3) -> list[dict[str, Any]]:
    """The best trials of a summary that have a checkpoint."""
    scored = [row for row in trials if row["metric"] is not None and row["checkpoint"]]
    return sorted(scored, key=lambda row: -row["metric"])[:count]


def _spread(data: Prepared) -> np.ndarray:
    """Validation rows, the classes taking turns, always the same for the same data."""
    rows = data.fold_rows(0)[1]
    turn = np.zeros(len(rows), np.int64)
    for label in np.unique(data.labels[rows]):
        which = np.flatnonzero(data.labels[rows] == label)
        turn[which] = np.arange(len(which))
    return rows[np.lexsort((-data.labels[rows], turn))][:IMAGES]


def _caption(data: Prepared, row: int) -> str:
    name = Path(data.files[row]).stem
    label = CLASSES[data.labels[row]] if data.labels[row] >= 0 else ""
    return (name if label and name.startswith(label) else f"{label} {name}").encode("ascii", "replace").decode()[:36]
