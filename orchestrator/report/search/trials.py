"""The trials of a search as its ledger has them, and its Optuna study; both are read without a lock and not written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from orchestrator.common.errors import UserError
from orchestrator.storage.run_folder import NAMES, RunFolder
from orchestrator.tuning.ledger import ENDED, Ledger, TrialRecord

#: How a trial ended, in words; a state that is no end counts as unfinished.
OUTCOMES = {
    "completed": "completed",
    "asha": "left at a rung",
    "early": "stopped early",
    "diverged": "diverged",
    "failed": "failed",
    "unfinished": "unfinished",
}
METRICS = {"dice": "Dice", "auroc": "AUROC", "score": "score"}


@dataclass(frozen=True)
class TrialOutcome:
    """A trial that was started.

    Attributes:
        record: what the ledger says of it. architecture: name of its network.
        value: its best value of the primary metric, None without a finite one.
        outcome: a key of `OUTCOMES`.
    """

    record: TrialRecord
    architecture: str
    value: float | None
    outcome: str


def read_trials(folder: Path, primary: str) -> list[TrialOutcome]:
    """The trials of a search that were started, in the order of asking.

    Raises:
        UserError: there is no ledger, or it is damaged.
    """
    try:
        records = sorted(Ledger(folder, hold=False).trials.values(), key=lambda record: record.number)
        return [
            TrialOutcome(
                record,
                record.config["architecture"],
                _finite(record.result.get(f"best/{primary}")),
                record.state if record.state in ENDED else "unfinished",
            )
            for record in records
            if record.began is not None
        ]
    except OSError:
        raise UserError(f"{NAMES.ledger} is missing or damaged: nothing can be said of the trials") from None


def read_study(folder: Path) -> optuna.Study:
    """The Optuna study of a search. A running search may go on writing it.

    Raises:
        UserError: there is none, or it is damaged.
    """
    file = RunFolder(folder).study
    if not file.is_file():  # the backend would create it
        raise UserError(f"{file.name} is missing")
    try:
        storage = JournalStorage(JournalFileBackend(str(file)))
        (name,) = optuna.get_all_study_names(storage)
        return optuna.load_study(study_name=name, storage=storage)
    except Exception:  # Optuna replays whatever stands in the file, and names no errors
        raise UserError(f"{file.name} is damaged") from None


def valued(trials: Sequence[TrialOutcome]) -> list[tuple[TrialOutcome, float]]:
    """Those with a value, and the value; best first, the earlier of equals first."""
    found = [(trial, trial.value) for trial in trials if trial.value is not None]
    return sorted(found, key=lambda pair: (-pair[1], pair[0].record.number))


def varied(trials: Sequence[TrialOutcome]) -> list[str]:
    """Parameters that are not the same in all of these trials, in the order of their configurations.

    The encoder is none of them where it only repeats the architecture.
    """
    configs = [trial.record.config for trial in trials]
    names = [name for name in dict.fromkeys(name for config in configs for name in config) if name != "architecture"]
    if all(config.get("encoder", config["architecture"]) == config["architecture"] for config in configs):
        names = [name for name in names if name != "encoder"]
    return [name for name in names if len({shown(config.get(name)) for config in configs}) > 1]


def shown(value: Any) -> str:
    """A parameter's value as text without invisible characters, numbers to three digits; `-` for none."""
    if value is None or value == "":
        return "-"
    text = f"{value:.3g}" if isinstance(value, float) else str(value)
    return "".join(mark if mark.isprintable() else "\N{REPLACEMENT CHARACTER}" for mark in text)


def _finite(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
