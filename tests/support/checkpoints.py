"""A checkpoint as a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import nn

from trainables.checkpoint import DESCRIPTION, WEIGHTS
from trainables.tasks import make_task


def load_model(folder: Path) -> tuple[nn.Module, dict[str, Any]]:
    """The best model of a checkpoint, in eval mode on the CPU, and its description.

    Raises:
        FileNotFoundError: a file of the checkpoint is missing.
    """
    description = json.loads((folder / DESCRIPTION).read_text())
    config = description["config"]
    model = make_task(description["task"], config.get("classes", 3)).build(config)
    model.load_state_dict(load_file(folder / WEIGHTS))
    return model.eval(), description
