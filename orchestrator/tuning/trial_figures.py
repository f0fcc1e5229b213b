"""Pictures and final figures of one trial, from its checkpoint: what a worker does; neither Ray nor MLflow."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from orchestrator.inference.networks import load_network
from orchestrator.scoring.packed_masks import PackedMasks
from trainables import charts, checkpoint, checkpoint_description, stored
from trainables.data import Prepared
from trainables.evaluation import evaluate_at_original_size
from trainables.inference import predict
from trainables.stored import DamagedError
from trainables.tasks import Task, make_task

#: Beside the pictures: what they were drawn from, and the scores.
SCORES = "scores.json"


def shown_rows(task: Task, data: Prepared) -> np.ndarray:
    """The images that trials are validated on, int64 [N]."""
    return np.intersect1d(data.fold_rows(0)[1], task.rows(data))


def draw(
    folder: Path,
    data: Prepared,
    originals: PackedMasks | None,
    *,
    gpu: bool = False,
    threads: int = 1,
) -> dict[str, bytes]:
    """Draw a checkpoint's predictions on the validation images, and score its masks at original size.

    Pictures of synthetic data say so.

    Args:
        folder: the checkpoint.
        data: those that the trial was validated on; their files need not be on this host.
        originals: merged masks of `shown_rows` at original size; None for cls.
        gpu: predict on one. threads: as many as the cores that this may use.

    Returns:
        PNG files and `scores.json`, by name: they belong beside each other.

    Raises:
        OSError, RuntimeError, ValueError: the checkpoint cannot be read.
    """
    torch.set_num_threads(threads)
    described = checkpoint_description.read(folder)
    file, device = folder / checkpoint.WEIGHTS, "cuda" if gpu else "cpu"
    model = load_network(file, described.task, described.config, device)
    task = make_task(described.task, described.config.get("classes", 3))
    rows = shown_rows(task, data)
    outputs = predict(model, data.images[rows])
    pictures, scores = task.figures(data, rows, outputs), dict[str, float]()
    if originals is not None:
        truth = [originals[i] for i in range(len(originals))]
        scores = evaluate_at_original_size(task, outputs, data, rows, truth)
        pixels = [scores[f"pixels_{name}"] for name in ("tn", "fp", "fn", "tp")]
        pictures["pixel_confusion"] = charts.pixel_confusion(np.array(pixels, np.int64).reshape(2, 2))
    files = {SCORES: json.dumps({"checkpoint": _name(folder), "scores": scores}).encode()}
    for name, picture in pictures.items():
        shown = Image.fromarray(picture)
        if data.synthetic:
            place = (shown.width - 8, 4)
            ImageDraw.Draw(shown).text(place, "SYNTHETIC DATA", fill=(230, 140, 0), anchor="ra", font_size=14)
        stream = io.BytesIO()
        shown.save(stream, "PNG")
        files[f"{name}.png"] = stream.getvalue()
    return files


@dataclass(frozen=True)
class _Drawn:
    """What `SCORES` holds."""

    checkpoint: str
    scores: dict[str, float]


def drawn(home: Path, folder: Path) -> dict[str, float] | None:
    """The scores beside the pictures in `home`; None where there are none, or of another checkpoint than `folder`."""
    try:
        found = stored.read(home / SCORES, _Drawn)
        return found.scores if found.checkpoint == _name(folder) else None
    except (OSError, DamagedError):
        return None


def _name(folder: Path) -> str:
    """A checkpoint within its search: launch, trial, checkpoint. The search's folder may move."""
    return "/".join(folder.parts[-3:])
