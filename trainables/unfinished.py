"""Names for files and folders that are being written, nobody else's, and what becomes of those of dead processes."""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from trainables.processes import beginning, is_it

#: Seconds after which nobody writes to what has not changed since, whoever its owner is.
ABANDONED = 24 * 3600.0
_counter = itertools.count()


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A name in the folder of `path`, for what is to be renamed to it; what is still there in the end is deleted.

    The name is that of this call alone, among threads, processes and hosts. What dead processes left in that folder
    goes first.
    """
    _sweep_once(path.parent)
    own = f"{os.getpid()}-{beginning(os.getpid())}"
    part = path.with_name(f".{path.name[:40]}.{_host()}-{own}-{next(_counter)}.part")
    try:
        yield part
    finally:
        _delete(part)


def sweep(folder: Path) -> None:
    """Delete what processes that are dead by now left in a folder under names of `beside`, as far as it can be.

    Of a process on another host, or in another container, nobody here knows that: its things go after a day.
    """
    with suppress(OSError):
        for part in folder.glob(".*.part"):
            host, pid, began, number = ([*part.name.split(".")[-2].split("-"), "", "", ""])[:4]
            if pid.isdecimal() and number.isdecimal():
                dead = host == _host() and not is_it(int(pid), began)
                if dead or time.time() - part.lstat().st_mtime > ABANDONED:
                    _delete(part)


@cache
def _sweep_once(folder: Path) -> None:
    """A folder may hold thousands of files, and a process write as many."""
    sweep(folder)


def _host() -> str:
    """What ids of processes are told apart in: this host, or the container on it."""
    name = socket.gethostname()
    with suppress(OSError):  # Linux alone; containers may share their host's name
        name += os.readlink("/proc/self/ns/pid")
    return f"{zlib.crc32(name.encode()):08x}"


def _delete(part: Path) -> None:
    if part.is_dir() and not part.is_symlink():
        shutil.rmtree(part, ignore_errors=True)
    else:
        with suppress(OSError):
            part.unlink()
