"""Distributed hyperparameter search for models of breast ultrasound."""

from __future__ import annotations

import sys

# What Python says while it looks for `python -m orchestrator.COMMAND`; and the program.
if sys.argv[:1] == ["-m"] or "".join(sys.argv[:1]).endswith(("breast-ultrasound", "breast-ultrasound.exe")):
    from orchestrator.common.signals import end_at_once

    end_at_once()

import os
from importlib import import_module
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
    from orchestrator.common.errors import UserError
    from orchestrator.config.ensemble import EnsembleSettings
    from orchestrator.config.plugins import load_plugins
    from orchestrator.config.search import SearchSettings
    from orchestrator.ensemble.result import EnsembleResult
    from orchestrator.ensemble.run import run_ensemble
    from orchestrator.predict.load import load_predictor
    from orchestrator.search import run_search
    from orchestrator.tuning.summary import SearchSummary

__all__ = [
    "EnsembleResult",
    "EnsembleSettings",
    "SearchSettings",
    "SearchSummary",
    "UserError",
    "load_plugins",
    "load_predictor",
    "run_ensemble",
    "run_search",
]
_PLACES = {
    "EnsembleResult": "ensemble.result",
    "EnsembleSettings": "config.ensemble",
    "SearchSettings": "config.search",
    "SearchSummary": "tuning.summary",
    "UserError": "common.errors",
    "load_plugins": "config.plugins",
    "load_predictor": "predict.load",
    "run_ensemble": "ensemble.run",
    "run_search": "search",
}


def __getattr__(name: str) -> Any:
    # Late, so that `python -m orchestrator.leaderboard` does not wait for torch and Ray.
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
