"""Pixels that a process holds decoded at a time, over all of its threads: a small file may unpack to a gigabyte."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

#: One image of the largest size that is read, or many small ones. Decoding takes up to 20 bytes a pixel.
PIXELS = 64_000_000

_changed = threading.Condition()  # guards what is free
_free = PIXELS
_thread = threading.local()


@contextmanager
def within_budget() -> Iterator[None]:
    """Within it, this thread may `claim` pixels, which are free again at its end; one inside another shares them."""
    if hasattr(_thread, "claimed"):
        yield
        return
    _thread.claimed = 0
    try:
        yield
    finally:
        _exchange(_thread.claimed, 0)
        del _thread.claimed


def claim(pixels: int) -> None:
    """Wait until so many are free, this thread's own among them, and take them; more than all count as all.

    Outside `within_budget`, nothing is waited for.
    """
    pixels, claimed = min(pixels, PIXELS), getattr(_thread, "claimed", pixels)
    if pixels > claimed:
        _exchange(claimed, 0)  # first, as two threads that hold a part and wait for more would wait for ever
        _thread.claimed = 0
        _exchange(0, pixels)
        _thread.claimed = pixels


def _exchange(old: int, new: int) -> None:
    global _free
    with _changed:
        _changed.wait_for(lambda: _free + old >= new)
        _free += old - new
        _changed.notify_all()
