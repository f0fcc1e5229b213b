"""Locks between processes. The operating system keeps them: none outlives the process that holds it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # late elsewhere: it takes 0.1 s to import, which no command line needs
    from filelock import BaseFileLock

#: Seconds in which whoever only looks at a lock has let go of it.
LOOK = 0.5


def take(file: Path, seconds: float = LOOK) -> BaseFileLock | None:
    """Hold a lock until `release`; None where another holds it all the while.

    Args:
        file: of the lock and of nothing else, as Windows lets nobody read what is locked; its folder is made.
        seconds: to wait for whoever holds it; -1 for ever.

    Raises:
        OSError: the file cannot be written, or its file system has no locks.
    """
    from filelock import FileLock, Timeout

    # Not the kind that is a mere file: whoever dies would hold it for ever.
    lock = FileLock(file, thread_local=False, fallback_to_soft=False, poll_interval=LOOK / 20)
    try:
        lock.acquire(timeout=seconds)
    except Timeout:
        return None
    return lock


def release(lock: BaseFileLock) -> None:
    """Let go of a lock; its file goes, too, where a system lets that be done to a file in use."""
    with suppress(OSError):
        Path(lock.lock_file).unlink()
    lock.release()


@contextmanager
def held(file: Path) -> Iterator[None]:
    """Within it this process holds a lock, for which it waits.

    Raises:
        OSError: as `take` does.
    """
    lock = take(file, -1)
    assert lock
    try:
        yield
    finally:
        release(lock)


def is_held(file: Path) -> bool:
    """Whether a process holds this lock; one that may not be asked for counts as held."""
    if not file.exists():
        return False
    try:
        lock = take(file, LOOK / 5)
    except OSError:
        return file.exists()
    if lock:
        lock.release()
    return not lock
