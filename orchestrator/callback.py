"""What Tune tells during a search, passed on to MLflow and to the terminal."""

from __future__ import annotations

import logging
import time
from typing import Any

from ray.tune import Callback

from orchestrator.budget import Budget
from orchestrator.progress import SearchProgress
from orchestrator.tracking import Tracker
from trainables.models.weights import Source

log = logging.getLogger(__name__)


def label(config: dict[str, Any], number: int) -> str:
    """A name by which a person tells trials apart."""
    recipe = config["recipe"] and (
        "(recipe)" if config["recipe"] == config["architecture"] else f"({config['recipe']})"
    )
    # A classifier is its own encoder, under the same or nearly the same name.
    same = config["encoder"] in config["architecture"] or config["architecture"] in config["encoder"]
    encoder = "" if same else config["encoder"]
    return " ".join(part for part in (f"#{number}", config["architecture"], encoder, recipe) if part)


class SearchCallback(Callback):
    """One MLflow run and one line in the terminal for each trial.

    Args:
        tracker, progress, budget: of this search.
        tags: tags that every trial carries.
        sources: where each encoder's weights come from.
        primary: name of the primary metric.
    """

    def __init__(
        self,
        tracker: Tracker,
        progress: SearchProgress,
        budget: Budget,
        *,
        tags: dict[str, str],
        sources: dict[str, Source],
        primary: str,
    ) -> None:
        self._tracker, self._progress, self._budget = tracker, progress, budget
        self._tags, self._sources, self._metric = tags, sources, f"best/{primary}"
        self.trials: dict[str, Any] = {}
        self.labels: dict[str, str] = {}
        self.states: dict[str, str] = {}
        self.began: dict[str, float] = {}
        self.ended: dict[str, float] = {}

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles callbacks with its state; threads and terminals cannot go with them.
        return {}

    def on_trial_start(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        """Tune starts a trial, or goes on with it."""
        config = trial.config
        self.trials[trial.trial_id] = trial
        self.began.setdefault(trial.trial_id, time.time())
        number = trials.index(trial) + 1
        name = self.labels.setdefault(trial.trial_id, label(config, number))
        tags = {
            "architecture": config["architecture"],
            "encoder": config["encoder"],
            "weights_source": self.weights_source(config),
            **self._tags,
        }
        self._tracker.start_trial(trial.trial_id, name, config, tags)
        self._progress.started(trial.trial_id, number, name, config["epochs"])

    def on_trial_result(self, iteration: int, trials: list, trial: Any, result: dict[str, Any], **info: Any) -> None:
        """An epoch is done."""
        metrics = {
            name: float(value)
            for name, value in result.items()
            if name.startswith(("train/", "val/", "best/")) or name in ("train_seconds", "setup_seconds")
        }
        self._tracker.log(trial.trial_id, metrics, step=result["training_iteration"])
        self._progress.epoch(trial.trial_id, result["training_iteration"], result[self._metric])

    def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        """A trial ended: by itself, by ASHA or by the budget."""
        result = trial.last_result
        if result.get("stopped"):
            state = result["stopped"]
        elif result.get("training_iteration", 0) >= trial.config["epochs"]:
            state = "completed"
        else:
            state = "budget" if self._budget.over() else "asha"
        self._end(trial, state, "FINISHED")

    def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        """A trial failed for good."""
        if trial.trial_id not in self.labels:  # its worker never came up, so Tune never said that it starts
            self.on_trial_start(iteration, trials, trial)
        reason = str(trial.get_error() or "its worker died").strip().splitlines()[-1]
        log.error("trial %s failed: %s", self.labels[trial.trial_id], reason)
        self._end(trial, "failed", "FAILED")

    def weights_source(self, config: dict[str, Any]) -> str:
        """Where a trial's encoder weights came from."""
        source = self._sources.get(config["encoder"])
        return source.kind if source else "random"

    def scored(self) -> bool:
        """Whether any trial finished an epoch."""
        return any(self._metric in (trial.last_result or {}) for trial in self.trials.values())

    def close(self) -> None:
        """Close the trials that never ended: the search was interrupted."""
        for trial_id, trial in self.trials.items():
            if trial_id not in self.states:
                self._end(trial, "interrupted", "KILLED")

    def _end(self, trial: Any, state: str, status: str) -> None:
        self.states[trial.trial_id], self.ended[trial.trial_id] = state, time.time()
        self._tracker.end_trial(trial.trial_id, status, {"stopped": state})
        self._progress.finished(trial.trial_id, state)
