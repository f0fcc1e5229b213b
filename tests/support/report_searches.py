"""Ledgers and Optuna studies with known answers, written without running a search."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.trial import create_trial

from orchestrator.storage.run_folder import RunFolder

DISTRIBUTIONS = {
    "architecture": CategoricalDistribution(("unet", "fpn")),
    "lr": FloatDistribution(1e-4, 1e-1, log=True),
    "dropout": FloatDistribution(0.0, 1.0),
}


class Kept(BaseJournalBackend):
    """A journal in memory: a study of thousands is written at once."""

    def __init__(self) -> None:
        self.logs: list[dict[str, Any]] = []

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:  # type: ignore[override]
        yield from self.logs[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self.logs += [json.loads(json.dumps(log)) for log in logs]


def write_study(folder: Path, params: Sequence[dict[str, Any]], values: Sequence[float | None]) -> None:
    """A study of these trials; without a value a trial is told as the worst, as the searcher does."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    kept = Kept()
    study = optuna.create_study(study_name="s", storage=JournalStorage(kept), direction="maximize")
    for given, value in zip(params, values, strict=True):
        known = {name: DISTRIBUTIONS[name] for name in given}
        study.add_trial(create_trial(params=given, distributions=known, value=value or 0.0))
    RunFolder(folder).study.write_text("".join(json.dumps(log) + "\n" for log in kept.logs))


def write_ledger(folder: Path, trials: Sequence[dict[str, Any]], gpus: float = 0.5) -> None:
    """Trials one after another: `config`, `value`, and if they matter `state`, `epochs`, `seconds` of each."""
    events: list[dict[str, Any]] = [
        {"event": "launch", "identity": {}, "gpus": gpus, "pid": 1, "host": "h", "clock": 0.0},
    ]
    clock = 0.0
    for i, trial in enumerate(trials):
        name, state = {"trial": f"t{i}"}, trial.get("state", "completed")
        config = {"architecture": "unet", "encoder": "e", "recipe": "", "epochs": 10, **trial["config"]}
        events.append({"event": "asked", **name, "number": i + 1, "study_number": i, "config": config, "clock": clock})
        events.append({"event": "started", **name, "clock": clock})
        clock += trial.get("seconds", 10.0)
        metrics = {"best/dice": trial["value"], "best/epoch": 1}
        if trial["value"] is not None:
            epoch = trial.get("epochs", 10)
            events.append({"event": "result", **name, "epoch": epoch, "metrics": metrics, "ending": "", "clock": clock})
        events.append({"event": "ended", **name, "state": state, "reason": "", "clock": clock})
    RunFolder(folder).ledger.write_text("".join(json.dumps(event) + "\n" for event in events))


def drawn(count: int, value: Callable[[dict[str, Any]], float]) -> tuple[list[dict[str, Any]], list[float]]:
    """Parameters at random, seed fixed, and the values that follow from them."""
    random = np.random.default_rng(3)
    params = [
        {
            "architecture": str(random.choice(["unet", "fpn"])),
            "lr": float(10 ** random.uniform(-4, -1)),
            "dropout": float(random.random()),
        }
        for _ in range(count)
    ]
    return params, [value(one) for one in params]


def by_lr(params: dict[str, Any]) -> float:
    """Best at a learning rate of 1e-3."""
    return 0.9 - 0.2 * abs(float(np.log10(params["lr"])) + 3)


def by_lr_at_best(params: dict[str, Any]) -> float:
    """The best eighth by the learning rate, the others by dropout."""
    return 0.9 if params["lr"] < 10**-3.6 else 0.5 * params["dropout"]


def write_search(folder: Path, count: int, value: Callable[[dict[str, Any]], float] = by_lr) -> None:
    """Ledger and study of as many completed trials."""
    params, values = drawn(count, value)
    write_study(folder, params, values)
    write_ledger(folder, [{"config": one, "value": given} for one, given in zip(params, values, strict=True)])
