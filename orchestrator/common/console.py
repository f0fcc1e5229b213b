"""What a person reads on the terminal: lines, durations, progress."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from orchestrator.common.harmless import harmless

_consoles: list[Console] = []


def console() -> Console:
    """Where the user reads: the innermost console of `shown_on`, or this process's own output."""
    return _consoles[-1] if _consoles else Console()


@contextmanager
def shown_on(target: Console) -> Iterator[None]:
    """Within it, all threads of this process speak to the user on `target`."""
    _consoles.append(target)
    try:
        yield
    finally:
        _consoles.remove(target)


def say(line: str) -> None:
    """A line for the user; names in it may hold anything, and it stays one line that a terminal does not obey."""
    _print(console(), line)


def complain(line: str) -> None:
    """A line for the user, as `say` says it, on standard error."""
    _print(Console(stderr=True), line)


def _print(where: Console, line: str) -> None:
    with suppress(OSError):  # the terminal is gone, or the disk full that takes what is said
        where.print(harmless(line), markup=False, highlight=False, soft_wrap=True)


def progress_bar() -> Progress:
    """A bar for what takes long, which goes away at its end; its tasks are described in words."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    shown = console()
    return Progress(*columns, console=shown, transient=True, disable=not shown.is_terminal)


def threads() -> int:
    """Threads that decode and write: one for each core that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def format_seconds(seconds: float) -> str:
    """`45 s`, `12 min` or `3.4 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
