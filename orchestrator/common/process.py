"""Which process this is among those of all hosts and containers, and whether another lives."""

from __future__ import annotations

import os
from pathlib import Path


def identity() -> str:
    """This process: the boot of its kernel, the namespace of its id, that id, and when it began, in clock ticks.

    A host's name does not do: containers share it, and process ids. "" where a system does not tell; Linux does.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')} {os.getpid()} {_began(os.getpid())}"
    except OSError:
        return ""


def lives(told: str) -> bool | None:
    """Whether the process lives whose `identity` was told; None where this process cannot see it, as in a container."""
    here, there = identity().split(), told.split()
    if len(there) != 4 or here[:2] != there[:2]:
        return None
    try:
        return _began(int(there[2])) == there[3]
    except OSError:
        return False
    except ValueError:
        return None


def _began(pid: int) -> str:
    """When a process began; "" of one that has ended and was not asked for yet.

    Raises:
        OSError: there is none.
    """
    state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return "" if state in "ZX" else fields[18]
