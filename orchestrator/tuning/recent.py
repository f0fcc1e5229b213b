"""What a look at all trials found, recently: a driver of thousands of them cannot look at each event."""

from __future__ import annotations

from collections.abc import Callable, Sized
from typing import Generic, TypeVar

Found = TypeVar("Found")


class Recent(Generic[Found]):
    """Looks at the first call, and again once a hundredth as many calls have come as there are trials.

    So that of fewer than 100 trials each call has what is true now, and of 10,000 a result costs no more than of 100.

    Args:
        look: what looks at all trials.
        trials: all that there are.
    """

    def __init__(self, look: Callable[[], Found], trials: Sized) -> None:
        self._look, self._trials = look, trials
        self._found: Found
        self._due = 0

    def __call__(self) -> Found:
        self._due -= 1
        if self._due < 0:
            self._found, self._due = self._look(), len(self._trials) // 100
        return self._found
