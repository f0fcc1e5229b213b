"""`--notify`: a command of the user's that learns how a search ended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from orchestrator.common.console import complain
from orchestrator.common.errors import first_line
from trainables import stored
from trainables.stored import DamagedError

#: Seconds that it may take.
LIMIT = 60.0


@contextlib.contextmanager
def notifying(command: str, summary: Path) -> Iterator[None]:
    """Run a shell command when what is inside ends, however it does; "" for none.

    It reads on standard input what the file `summary` holds, as JSON; where the search was broken off, with the status
    failed or interrupted, and why. Its failure is one line and changes nothing.
    """
    broken: dict[str, str] = {}
    try:
        yield
    except BaseException as error:
        status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        broken = {"name": summary.parent.name, "status": status, "why": first_line(error)}
        raise
    finally:
        if command:
            _run(command, json.dumps(_written(summary) | broken, indent=2))


def _written(summary: Path) -> dict[str, Any]:
    """What was written last; nothing where that is damaged: somebody is to be told all the same."""
    try:
        return stored.read(summary, dict[str, Any])
    except (OSError, DamagedError):
        return {}


def _run(command: str, text: str) -> None:
    trouble = ""
    # What it says goes to a file: nobody waits for a pipe that a process which it leaves behind holds open.
    with tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen(
                command, shell=True, stdin=subprocess.PIPE, stdout=said, stderr=said, start_new_session=True
            )
        except OSError as error:
            trouble = error.strerror or str(error)
        else:
            with process:
                trouble = _waited(process, text)
        said.seek(0)
        last = said.read().decode(errors="replace").strip().splitlines()[-1:]
    if trouble:
        complain(": ".join(["--notify", trouble, *last]))


def _waited(process: subprocess.Popen[bytes], text: str) -> str:
    """What went wrong, "" for nothing."""
    try:
        process.communicate(text.encode(), timeout=LIMIT)
    except subprocess.TimeoutExpired:
        return f"still running after {LIMIT:.0f} s, stopped"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    return f"exit code {process.returncode}" if process.returncode else ""
