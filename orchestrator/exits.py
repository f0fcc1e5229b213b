"""How commands end: exit codes, and one line for whatever goes wrong."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from orchestrator.cli import UserError
from trainables.data import DataError

DONE, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130


def guarded(run: Callable[[], int], details: Callable[[], Path]) -> int:
    """What `run` returns; where it raises, one line on stderr and the exit code for it.

    Args:
        details: the file that takes the traceback of what is nobody's input.
    """
    console = Console(stderr=True)
    try:
        return run()
    except (UserError, DataError) as error:
        console.print(f"error: {error}", markup=False, highlight=False, soft_wrap=True)
        return BAD_INPUT
    except KeyboardInterrupt:
        console.print("interrupted")
        return INTERRUPTED
    except Exception as error:
        log = details()
        with contextlib.suppress(OSError), log.open("a") as file:  # the disk may be full
            traceback.print_exc(file=file)
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1]  # Tune wraps a whole traceback
        console.print(f"failed: {reason}; details in {log}", markup=False, highlight=False, soft_wrap=True)
        return FAILED
