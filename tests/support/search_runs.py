"""A search's launch without data: what its searcher and its callback work on; and what it may leave."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import optuna

from orchestrator.cluster.resources import TrialResources
from orchestrator.config.cli import make_settings
from orchestrator.config.search import SearchSettings
from orchestrator.tuning.ledger import Ledger
from orchestrator.tuning.plan import Plan
from orchestrator.tuning.search_run import SearchRun
from orchestrator.tuning.summary import DataSummary, SearchSummary, Spent, TrialSummary
from search_spaces import Config, Parameters


def search_run(
    ledger: Ledger,
    space: Callable[[optuna.Trial], Config] = lambda trial: {},
    first_points: Sequence[Parameters] = (),
    trials: int = 1,
    **fields: Any,
) -> SearchRun:
    """A run of the search whose ledger this is; `fields` of its settings."""
    where = {"storage": ledger.folder.parent, "name": ledger.folder.name, "tracking_uri": "sqlite:///x.db"}
    settings = make_settings(SearchSettings, {**where, **fields})
    plan = Plan(space, list(first_points), {}, trials, ())
    return SearchRun(settings, cast(Any, None), plan, TrialResources(1, 1, 0), ledger)


def trial_summary(**fields: Any) -> TrialSummary:
    """A finished trial of a U-Net, but for `fields`."""
    values = {"trial_id": "t1", "mlflow_run_id": "", "name": "#1 unet", "status": "completed", "reason": ""}
    values |= {"architecture": "unet", "encoder": "", "recipe": "", "weights_source": "random"}
    numbers = {"metric": 0.5, "epochs": 2, "seconds": 2.0, "train_seconds": 1.0, "checkpoint": None}
    return TrialSummary.model_validate({**values, **numbers, **fields})


def search_summary(**fields: Any) -> SearchSummary:
    """A search without trials, but for `fields`."""
    prints = {"fingerprint": "f" * 64, "prepared_fingerprint": "p" * 64, "source": "/somewhere/busi"}
    counts = {"images": 3, "groups": 3, "split_sizes": {"train": 3}, "left_out": 0}
    values = {"task": "seg", "name": "r", "status": "done", "why": "all trials are done", "metric": "dice"}
    numbers = {"image_size": 64, "trials": (), "wall_seconds": 1.0, "launches": 1, "slots": 1, "efficiency": None}
    data = DataSummary.model_validate({**prints, **counts, "synthetic": False})
    return SearchSummary.model_validate(
        {**values, **numbers, "data": data, "spent": Spent(by_architecture={}), **fields}
    )
