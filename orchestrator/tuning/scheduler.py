"""What Tune asks after each epoch of a trial: whether it goes on, or waits at a rung."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ray.tune.schedulers import FIFOScheduler

from orchestrator.tuning.budget import TuneResult
from orchestrator.tuning.event import Event
from orchestrator.tuning.ledger import ENDED, TrialRecord
from orchestrator.tuning.rungs import REDUCTION_FACTOR, Rungs


def mean_epochs(levels: Sequence[int], epochs: float, trials: int) -> float:
    """Epochs of a trial on average, where a third of all trials passes each rung, and one at least."""
    done, going, before = 0.0, trials, 0.0
    for level in (*levels, epochs):
        done += going * (level - before)
        before, going = level, max(1, going // REDUCTION_FACTOR)
    return done / trials


class Asha(FIFOScheduler):
    """ASHA that pauses and promotes, as `Rungs` says.

    A trial that has to wait is stopped, with its checkpoint in the storage, and the searcher starts it again when it is
    promoted: what Tune itself pauses would keep its checkpoint in a worker's memory, and be lost with the driver.

    Args:
        rungs: of the search.
        metric: what trials report; larger is better.
    """

    def __init__(self, rungs: Rungs, metric: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._rungs, self._ranked_by = rungs, metric

    def on_trial_result(self, tune_controller: Any, trial: Any, result: TuneResult) -> str:
        """Whether the trial goes on."""
        goes_on = self._rungs.reach(trial.trial_id, result["training_iteration"], result[self._ranked_by])
        return self.CONTINUE if goes_on else self.STOP

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """The newest: an older one's own worker is about to start, and would be sent away if it took a free one."""
        trials = reversed(tune_controller.get_trials())
        return next((trial for trial in trials if trial.status == trial.PENDING), None)

    def replay(self, history: Iterable[Event], trials: dict[str, TrialRecord]) -> list[str]:
        """Fill the rungs from the events of earlier launches, in their order, so that they decide as they did.

        Returns:
            Ids of unfinished trials that wait at the rung where they are: the budget stopped them before it was asked.
        """
        waiting = []
        for event in history:
            if event.event == "promoted":
                self._rungs.promote(last=event.last)
            elif event.event == "result" and (event.ending == "asha" or event.ending not in ENDED):
                goes_on = self._rungs.reach(event.trial, event.epoch, event.metrics[self._ranked_by])
                record = trials[event.trial]
                unasked = record.state in ("budget", "interrupted") and event.epoch == record.epoch
                if not goes_on and unasked and record.epoch == record.checkpoint_epoch:
                    waiting.append(event.trial)
            elif event.event == "ended" and event.state == "failed":
                self._rungs.drop(event.trial)
        for record in trials.values():
            if record.state == "failed":  # also what failed by what this launch has settled
                self._rungs.drop(record.trial_id)
        return waiting
