"""ASHA whose rungs follow from the epochs and come back after a crash."""

from __future__ import annotations

import math
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import AsyncHyperBandScheduler

from orchestrator.tuning.budget import TuneResult
from orchestrator.tuning.ledger import ENDED, Event, TrialRecord

REDUCTION_FACTOR = 3


def mean_epochs(epochs: int) -> float:
    """Epochs of a trial on average, where exactly one of `REDUCTION_FACTOR` passes each rung."""
    done, passing, rung = 0.0, 1.0, _first_rung(epochs)
    before = 0
    while rung < epochs:
        done += passing * (rung - before)
        before, rung, passing = rung, rung * REDUCTION_FACTOR, passing / REDUCTION_FACTOR
    return done + passing * (epochs - before)


def _first_rung(epochs: int) -> int:
    return max(1, min(epochs, max(2, math.ceil(epochs / 5))))


class Asha(AsyncHyperBandScheduler):
    """ASHA (Li et al., MLSys 2020) on the best value so far: a third passes each rung.

    The first rung is after a fifth of the epochs, at least 2: with a cosine to zero, values early in a trial say little
    about its end, and earlier rungs stop good trials. The first trial of each architecture is not stopped there, so
    that no architecture is judged by its first steps alone.

    Args:
        epochs: of a trial that runs to its end.
        metric: what trials report; larger is better.
    """

    def __init__(self, epochs: int, metric: str) -> None:
        self._first_rung = _first_rung(epochs)
        self._firsts: dict[str, str] = {}  # architecture -> trial id
        self._stopped: set[str] = set()
        super().__init__(
            time_attr="training_iteration",
            metric=metric,
            mode="max",
            max_t=epochs,
            grace_period=self._first_rung,
            reduction_factor=REDUCTION_FACTOR,
        )

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """A trial is about to start."""
        self._firsts.setdefault(trial.config["architecture"], trial.trial_id)
        super().on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: TuneResult) -> str:
        """Whether the trial goes on."""
        decision = super().on_trial_result(tune_controller, trial, result)
        if trial.trial_id in self._stopped:  # its last checkpoint was lost, and it reports again
            return self.STOP
        first = self._firsts[trial.config["architecture"]] == trial.trial_id
        at_first_rung = result["training_iteration"] < min(self._first_rung * REDUCTION_FACTOR, self._max_t)
        decision = self.CONTINUE if first and at_first_rung else decision
        if decision == self.STOP:
            self._stopped.add(trial.trial_id)
        return decision

    def replay(self, history: Iterable[Event], trials: dict[str, TrialRecord]) -> list[str]:
        """Fill the rungs from the events of earlier launches.

        What an unfinished trial reported after its last checkpoint it will report again, so that is left out.

        Returns:
            Ids of unfinished trials that end at the rung where they are: the budget stopped them before ASHA was asked.
        """
        beaten = []
        nobody: Any = None
        for event in history:
            record = trials.get(event.trial)
            if record is None:
                continue
            trial: Any = SimpleNamespace(trial_id=record.trial_id, config=record.config)
            if event.event == "asked":
                self.on_trial_add(None, trial)
            elif event.event == "result" and (record.ended or event.epoch <= record.checkpoint_epoch):
                result = {**event.metrics, "training_iteration": event.epoch}
                stopped = self.on_trial_result(None, trial, result) == self.STOP
                unasked = record.state in ("budget", "interrupted") and event.epoch == record.epoch
                if stopped and unasked and record.epoch == record.checkpoint_epoch:
                    beaten.append(record.trial_id)
            elif event.event == "ended" and event.state in ENDED and event.state != "failed":
                self.on_trial_complete(nobody, trial, {**record.result, "training_iteration": record.epoch})
        self._stopped.clear()
        return beaten
