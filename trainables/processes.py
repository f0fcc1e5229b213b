"""Which process this is among those of all hosts and containers, and whether another lives."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def identity() -> str:
    """This process: the boot of its kernel, the namespace of its id, that id, and when it began, in clock ticks.

    A host's name does not do: containers share it, and process ids. "" where a system does not tell; Linux does.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')} {os.getpid()} {beginning(os.getpid())}"
    except OSError:
        return ""


def lives(told: str) -> bool | None:
    """Whether the process lives whose `identity` was told; None where this process cannot see it, as in a container."""
    here, there = identity().split(), told.split()
    if len(there) != 4 or here[:2] != there[:2] or not there[2].isdecimal():
        return None
    return is_it(int(there[2]), there[3])


def beginning(pid: int) -> str | None:
    """When a process of this host or container began, in clock ticks; "" where that is not told, None of none."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if state in "ZX" else fields[18]  # it has ended, and was not asked for yet
    except OSError:
        return "" if _answers(pid) else None


def is_it(pid: int, began: str) -> bool:
    """Whether the process of this id lives that began then, as far as that is told: ids are given again."""
    found = beginning(pid)
    return found is not None and (not found or not began or found == began)


def _answers(pid: int) -> bool:
    """Whether there is a process of this id; Windows is not asked, where the question would end it."""
    if sys.platform == "win32":
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True
