"""Networks by task: what a checkpoint's configuration builds, without tasks, losses or metrics."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from search_spaces.recipes import Config

__all__ = ["build_model", "cls", "freezing", "heads", "hub", "multi", "provenance", "se", "seg", "weights"]

#: Tasks with a module here whose `build` makes the network.
_TASKS = ("seg", "cls", "multi")


def build_model(task: str, config: Config, classes: int) -> Any:
    """The task's network, an nn.Module, with random weights and no normalisation yet.

    Args:
        task: `seg`, `cls` or `multi`.
        config: flat configuration, as checkpoints store it.
        classes: number of classes, 3 or 2; of no account for seg.

    Raises:
        ValueError: unknown task, or what the task's own `build` refuses; the message lists the options.
    """
    if task not in _TASKS:
        raise ValueError(f"unknown task '{task}': choose from {', '.join(_TASKS)}")
    module = import_module(f"trainables.models.{task}")  # late: each task needs another library
    return module.build(config) if task == "seg" else module.build(config, classes)
