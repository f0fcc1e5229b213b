"""When a search stops: its time is up, or a person interrupted it."""

from __future__ import annotations

import time
from typing import Any

from ray.tune import Stopper


class Budget(Stopper):
    """Time budget and interruption of a search.

    When time is up no trial starts and running trials stop after their epoch: their last result and checkpoint count.
    After `interrupt()` they stop at once.

    Args:
        seconds: time budget from now on; None for no limit.
    """

    def __init__(self, seconds: float | None) -> None:
        self.deadline = None if seconds is None else time.time() + seconds
        self.interrupted = False
        self._seen_result = False

    def over(self) -> bool:
        """Whether nothing new may start."""
        return self.interrupted or (self.deadline is not None and time.time() >= self.deadline)

    def interrupt(self) -> None:
        """Stop everything at once."""
        self.interrupted = True

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        self._seen_result = True
        return self.over()

    def stop_all(self) -> bool:
        # Without a single result by the end, waiting for an epoch to finish could be waiting for ever.
        return self.interrupted or (self.over() and not self._seen_result)
