"""The same trials by this project: its whole search, with every trial trained to its last epoch."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from benchmarks._work import IMAGE_SIZE, SLOTS, SPACE, configuration, phantom
from orchestrator import run_search
from orchestrator.tuning import launch
from orchestrator.tuning.plan import Plan
from search_spaces import seg


def space(trial: Any, epochs: int) -> dict[str, Any]:
    """Have Optuna sample the default space, and train the one configuration."""
    seg.suggest(trial, **SPACE, epochs=epochs)
    return configuration(epochs, seed=trial.number)


def run(folder: str, name: str, epochs: int, trials: int) -> None:
    """One search, tracked in `folder`/`name`.db."""
    plan = Plan(partial(space, epochs=epochs), first_points=[], sources={}, trials=trials, notes=())
    launch.make_plan = lambda *given: plan
    run_search(
        task="seg",
        data=phantom(Path(folder)),
        image_size=IMAGE_SIZE,
        epochs=epochs,
        ensemble=False,
        recipes_only=True,  # a search that stops no trial early
        max_concurrent=SLOTS,
        cpus_per_trial=1,
        gpus_per_trial=0,
        name=name,
        storage=Path(folder) / "runs",
        tracking_uri=f"sqlite:///{folder}/{name}.db",
    )
