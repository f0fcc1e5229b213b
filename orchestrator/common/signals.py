"""Ctrl-C, SIGTERM and SIGHUP end a command in one line, also while libraries are imported."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

#: What is said of a signal, and the exit code; a closed terminal ends a command as SIGTERM does.
INTERRUPTED, TERMINATED = ("interrupted", 130), ("terminated", 143)
_ENDS = {signal.SIGINT: INTERRUPTED, signal.SIGTERM: TERMINATED}
if hasattr(signal, "SIGHUP"):  # not on Windows
    _ENDS[signal.SIGHUP] = TERMINATED
#: The signals that end a command.
NUMBERS = tuple(_ENDS)
_stderr = 2


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP: whatever cleans up after Ctrl-C does so after them."""


def end_at_once() -> None:
    """From now on a signal ends this process then and there; one that is ignored, as under nohup, stays so.

    For the time of imports: extensions swallow an exception that is raised in them.
    """
    for number in _ENDS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)


def is_ended_at_once() -> bool:
    """Whether a command is starting in this process."""
    return any(signal.getsignal(number) is _end for number in _ENDS)


def unwind() -> None:
    """From now on the signals that would end this process at once raise `KeyboardInterrupt` or `Terminated`.

    Within an import, as there are late ones, they go on ending it at once.
    """
    for number in _ENDS:
        if signal.getsignal(number) is _end:
            signal.signal(number, _raise)


def settle() -> None:
    """From now on the signals that would end or unwind this process are ignored: its exit code stands."""
    for number in _ENDS:
        if signal.getsignal(number) in (_end, _raise):
            signal.signal(number, signal.SIG_IGN)


def end_with_pipe() -> None:
    """From now on this process ends quietly where nobody reads what it writes, as under "| head"."""
    if hasattr(signal, "SIGPIPE"):  # not on Windows
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)


def stderr() -> int:
    """The descriptor on which the user reads errors."""
    return _stderr


@contextmanager
def heard_on(descriptor: int) -> Iterator[None]:
    """Within it the user reads errors there, as standard error goes elsewhere."""
    global _stderr
    before, _stderr = _stderr, descriptor
    try:
        yield
    finally:
        _stderr = before


@contextmanager
def interruptible(stop: Callable[[int], None]) -> Iterator[None]:
    """Within it Ctrl-C and SIGTERM call a function with their number; but in a thread, which no signal reaches."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda one, frame: stop(one)) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int, frame: object) -> None:
    words, code = _ENDS[signal.Signals(number)]
    with suppress(OSError):  # the terminal is gone
        os.write(_stderr, f"{words}\n".encode())
    os._exit(code)


def _raise(number: int, frame: FrameType | None) -> None:
    below = frame
    while below:
        if below.f_code.co_filename == "<frozen importlib._bootstrap>":
            _end(number, frame)
        below = below.f_back
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated
