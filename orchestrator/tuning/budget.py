"""When a search stops: its time or its GPU-hours are up, a person interrupted it, or it cannot go on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ray.tune import Stopper

from orchestrator.common.console import format_seconds
from orchestrator.tuning.ledger import Ledger
from orchestrator.tuning.recent import Recent

#: What Tune passes on of a trial's epoch: what the trial returned, and what Tune adds.
TuneResult = dict[str, Any]


class Budget(Stopper):
    """Time, GPU-hours and interruption of a search; what earlier launches spent counts.

    When the budget is spent, or after `interrupt()`, no trial starts and running trials stop after their epoch: their
    last result and checkpoint count. After `give_up()` they stop at once.

    Args:
        ledger: what was spent.
        seconds, gpu_hours: budgets; None for no limit.
        gpus: GPUs that the search holds while all its slots are taken.
        reserve: seconds of the time budget that are not the search's, by now.
    """

    def __init__(
        self,
        ledger: Ledger,
        seconds: float | None,
        gpu_hours: float | None,
        gpus: float,
        reserve: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._ledger, self._seconds, self._gpu_hours, self._gpus = ledger, seconds, gpu_hours, gpus
        self._reserve, self._gpu_seconds = (Recent(look, ledger.trials) for look in (reserve, ledger.gpu_seconds))
        self.interrupted = False
        self.given_up = ""
        self._spent = ""  # what is, in words: what is left may grow again, when the last trials have ended
        self._seen_result = False

    def __getstate__(self) -> dict[str, object]:
        # Tune pickles stoppers with its state, which nobody reads: the ledger is what a search resumes from.
        return {}

    def over(self) -> bool:
        """Whether nothing new may start."""
        self._spent = self._spent or self._what_is_spent()
        return self.interrupted or self.failed() or bool(self._spent)

    def left(self) -> float | None:
        """Seconds until the budget is spent, as far as it can be told; None for no limit."""
        left = [one for one in (self._time_left(), self._gpu_time_left()) if one is not None]
        return min(left, default=None)

    def why(self) -> str:
        """What ended the search, in words."""
        if self.failed():
            return self.given_up or f"disk full: make room for {self._ledger.folder}, then resume"
        if self.interrupted:
            return "interrupted"
        return self._spent or "all trials are done"

    def interrupt(self) -> None:
        """Stop: a person wants it."""
        self.interrupted = True

    def give_up(self, reason: str) -> None:
        """Stop everything at once: nothing that follows could succeed either."""
        self.given_up = self.given_up or reason

    def __call__(self, trial_id: str, result: TuneResult) -> bool:
        self._seen_result = True
        return self.over()

    def stop_all(self) -> bool:
        # Without a single result by the end, waiting for an epoch to finish could be waiting for ever.
        return self.failed() or (self.over() and not self._seen_result)

    def failed(self) -> bool:
        """Whether the search cannot go on."""
        return bool(self.given_up) or self._ledger.full

    def _time_left(self) -> float | None:
        return None if self._seconds is None else self._seconds - self._reserve() - self._ledger.clock()

    def _gpu_time_left(self) -> float | None:
        if self._gpu_hours is None:
            return None
        return (self._gpu_hours * 3600 - self._gpu_seconds()) / self._gpus

    def _what_is_spent(self) -> str:
        time, gpu_time = self._time_left(), self._gpu_time_left()
        if self._seconds is not None and time is not None and time <= 0:
            whole, own = format_seconds(self._seconds), format_seconds(min(self._seconds, self._ledger.clock()))
            return f"the time budget is spent: {whole}" + (f", {own} of it on the search" if own != whole else "")
        if gpu_time is not None and gpu_time <= 0:
            return f"the GPU-hours are spent: {self._gpu_hours:g}"
        return ""
