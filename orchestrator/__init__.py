"""Distributed hyperparameter search for models of breast ultrasound."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

# Before any library is imported: no telemetry, no update checks, and Ctrl-C is ours to handle.
for _name, _value in {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "NO_ALBUMENTATIONS_UPDATE": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # The ledger is what a search resumes from; Tune's own state grows with every trial each time that it is written.
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
}.items():
    os.environ.setdefault(_name, _value)

if TYPE_CHECKING:
    from orchestrator.config.search import SearchSettings
    from orchestrator.search import run_search

__all__ = ["SearchSettings", "run_search"]


def __getattr__(name: str) -> Any:
    # Late, so that `python -m orchestrator.leaderboard` does not wait for torch and Ray.
    if name == "run_search":
        from orchestrator.search import run_search

        return run_search
    if name == "SearchSettings":
        from orchestrator.config.search import SearchSettings

        return SearchSettings
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
