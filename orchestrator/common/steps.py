"""What a command is at, step by step: a bar in a terminal, elsewhere a line now and then."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import Progress, TaskID

from orchestrator.common.console import console, progress_bar, say

#: Seconds after which a line follows another where there is no terminal; nothing is said of what is over before.
PAUSE = 5.0


class Steps:
    """Shows one step at a time; called with (done, total) it tells how far this one is."""

    def __init__(self, bar: Progress) -> None:
        self._bar, self._lines = bar, not console().is_terminal
        self._job: TaskID | None = None
        self._words, self._spoke = "", time.monotonic()

    def begin(self, words: str, total: int | None = None) -> None:
        """The next step; without a total nobody knows how far it is, and the bar does not pretend to."""
        # A new one each time: rich takes a total of None for "as before", which would be the full bar of the last step.
        if self._job is not None:
            self._bar.remove_task(self._job)
        self._job, self._words = self._bar.add_task(words, total=total), words
        self._tell(words)

    def __call__(self, done: int, total: int) -> None:
        """So many of the step's parts are done."""
        if self._job is not None:
            self._bar.update(self._job, completed=done, total=total)
            self._tell(f"{self._words}: {done:,} of {total:,}")

    def _tell(self, line: str) -> None:
        if self._lines and time.monotonic() - self._spoke >= PAUSE:
            self._spoke = time.monotonic()
            say(line)


@contextmanager
def steps() -> Iterator[Steps]:
    """Within it steps are shown; a bar goes away at its end."""
    with progress_bar() as bar:
        yield Steps(bar)
