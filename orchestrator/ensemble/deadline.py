"""When an ensemble has to end, by its time budget or as a person asks for what is there; and what it then lacks."""

from __future__ import annotations

import math
import signal
import time

from orchestrator.common.console import format_seconds, say

#: Why a training was not begun, or was given up.
NO_TIME = "no time is left"


class Deadline:
    """Trainings ask it whether they may begin, and go on: what has to follow them must end in time, too.

    Args:
        at: when all must be done, in seconds of `time.monotonic()`; None for no limit.

    Attributes:
        reserve: seconds that what follows the trainings is expected to take.
        lacks: what there was no time for, in words, each with why.
    """

    def __init__(self, at: float | None = None) -> None:
        self.reserve, self.lacks = 0.0, list[str]()
        self._at, self._interrupted = math.inf if at is None else at, False

    @property
    def left(self) -> float:
        """Seconds that trainings may still take; infinite without a limit."""
        return -math.inf if self._interrupted else self._at - self.reserve - time.monotonic()

    @property
    def why(self) -> str:
        """What ends it, in words."""
        return "interrupted" if self._interrupted else "the time budget ended"

    def over(self) -> bool:
        """Whether trainings that run are given up."""
        return self.left < 0

    def lack(self, what: str) -> None:
        """Note what there was no time for, in words."""
        self.lacks.append(f"{what}: {self.why}")
        say(f"lacks     {self.lacks[-1]}")

    def late(self, trained: float) -> str:
        """Why all was done after the deadline; "" if it was not.

        Args:
            trained: when the trainings had ended, in seconds of `time.monotonic()`.
        """
        now = time.monotonic()
        if now <= self._at:
            return ""
        over, overrun = format_seconds(now - self._at), trained - (self._at - self.reserve)
        if overrun > now - trained - self.reserve:
            return f"{over} over the time budget: what came before the comparison ended {format_seconds(overrun)} late"
        took, planned = format_seconds(now - trained), format_seconds(self.reserve)
        return f"{over} over the time budget: what follows the trainings took {took}, not {planned}"

    def interrupt(self, number: int) -> None:
        """Ctrl-C once: finish with what is there. Twice, or SIGTERM: stop at once; its run is closed."""
        if self._interrupted or number == signal.SIGTERM:
            raise KeyboardInterrupt
        self._interrupted = True
        say("interrupted: finishing with what is there; again to stop at once")
