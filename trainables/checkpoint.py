"""Checkpoints: the best weights so far as safetensors, their description, and the state that training goes on from."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor

from trainables import checkpoint_description
from trainables.data.patience import openable

if TYPE_CHECKING:
    from trainables.training import Training

WEIGHTS, DESCRIPTION, STATE = "best.safetensors", checkpoint_description.FILE, "training.pt"
#: Seconds between two checkpoints of a training: what a crash can cost. Another follows at its end, whoever ends it.
SECONDS = 20.0


def save(folder: Path, training: Training, best: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
    """Write a checkpoint.

    Args:
        folder: an empty folder; Ray publishes it only when it is complete.
        training: its task, config, training images and state are stored.
        best: value, epoch and metrics of the best epoch so far.
        weights: the model's state dict at that epoch.

    Raises:
        OSError: a file cannot be written; `errno.ENOSPC` where the disk is full.
    """
    # Bytes first, then Python's own files: on a full disk neither library raises OSError, and torch.save hides why.
    (folder / WEIGHTS).write_bytes(to_bytes({name: tensor.cpu().contiguous() for name, tensor in weights.items()}))
    description = {
        "task": training.task.name,
        "config": training.config,
        "classes": training.data.classes,
        "best": dict(best),
        "image_size": int(training.data.images.shape[-1]),
        "data_fingerprint": training.data.data_fingerprint,
        "trained_on": trained_on(training),
    }
    (folder / DESCRIPTION).write_text(json.dumps(description))
    state = io.BytesIO()
    torch.save(training.state_dict(), state)
    (folder / STATE).write_bytes(state.getbuffer())


def trained_on(training: Training) -> list[str]:
    """Hashes (16 hexadecimal digits of each image file's SHA-256) of all images in the training groups, sorted.

    Scoring refuses images that these name: they, or a near-duplicate or another image of the patient, were trained on.
    """
    data = training.data
    members = np.flatnonzero(np.isin(data.groups, data.groups[training.training_rows]))
    return sorted({data.image_digests[row][:16] for row in members})


def resume(folder: Path, training: Training) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Put `training` back where it was; returns `best` and `weights` as they were saved."""
    # Onto the host: each part goes to where it belongs by itself, and Adam's counter of steps belongs on the host. On a
    # GPU, every step would wait for it.
    training.load_state_dict(torch.load(openable(folder / STATE), weights_only=True, map_location="cpu"))
    return asdict(checkpoint_description.read(folder).best), load_file(openable(folder / WEIGHTS))
