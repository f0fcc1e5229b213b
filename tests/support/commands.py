"""The settings of every command, by its name."""

from __future__ import annotations

from orchestrator.check import CheckSettings
from orchestrator.config.command import CommandSettings
from orchestrator.config.ensemble import EnsembleSettings
from orchestrator.config.search import SearchSettings
from orchestrator.eda.__main__ import EdaSettings
from orchestrator.evaluate.__main__ import EvaluateSettings
from orchestrator.leaderboard import LeaderboardSettings
from orchestrator.predict.__main__ import PredictSettings
from orchestrator.report.__main__ import ReportSettings
from orchestrator.weights.__main__ import WeightsSettings

SETTINGS: dict[str, type[CommandSettings]] = {
    "search": SearchSettings,
    "ensemble": EnsembleSettings,
    "leaderboard": LeaderboardSettings,
    "predict": PredictSettings,
    "evaluate": EvaluateSettings,
    "report": ReportSettings,
    "eda": EdaSettings,
    "weights": WeightsSettings,
    "check": CheckSettings,
}
