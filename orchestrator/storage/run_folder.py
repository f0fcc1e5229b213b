"""What lies below `runs/NAME`, each file name once."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

FILE = "trials.jsonl"
#: Bytes that a running search keeps for its last words on a full disk, and where.
RESERVE, RESERVED = "reserve", 1 << 18
SETTINGS = "settings.yaml"


def cut_torn_line(file: Path) -> None:
    """Cut what stands after the last line break: the process died, or the disk was full, while it was written."""
    if file.exists():
        content = file.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(file, whole)


def is_held(file: Path) -> bool:
    """Whether a process holds this ledger."""
    try:
        with file.open("rb") as ledger:
            fcntl.flock(ledger, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False
