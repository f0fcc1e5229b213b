"""Keeps the noise of libraries away from the user: it goes to a file, whoever writes it, Python or C++."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from orchestrator.common.console import say, shown_on
from orchestrator.common.signals import heard_on


@contextlib.contextmanager
def quiet(log: Path) -> Iterator[None]:
    """Within it, everything printed or logged by this process goes to the file `log`, but what `console()` prints.

    Outside a real process output, as in a notebook, only Python's logging is redirected.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab", buffering=0) as raw:
        file = _Forgiving(raw)
        handler = logging.StreamHandler(file)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        root = logging.getLogger()
        before, level = root.handlers[:], root.level
        root.handlers, root.level = [handler], logging.INFO
        logging.captureWarnings(True)
        try:
            with (
                _redirected(file) if _owns_output() else contextlib.nullcontext(Console()) as terminal,
                shown_on(terminal),
            ):
                root.addHandler(_Warnings())
                yield
        finally:
            logging.captureWarnings(False)
            root.handlers, root.level = before, level


class _Forgiving(io.TextIOBase):
    """Text to a file; what does not fit on the disk is lost, and nothing stops for it."""

    def __init__(self, file: io.RawIOBase) -> None:
        self._file = file

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            self._file.write(text.encode(errors="replace"))
        return len(text)

    def fileno(self) -> int:
        return self._file.fileno()


class _Warnings(logging.Handler):
    """Shows our own warnings to the user."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.addFilter(lambda record: record.name.split(".")[0] in ("orchestrator", "trainables"))

    def emit(self, record: logging.LogRecord) -> None:
        say(f"warning: {record.getMessage()}")


def _owns_output() -> bool:
    try:
        return sys.stdout.fileno() == 1 and sys.stderr.fileno() == 2
    except (AttributeError, OSError, ValueError):
        return False


@contextlib.contextmanager
def _redirected(target: _Forgiving) -> Iterator[Console]:
    sys.stdout.flush()
    sys.stderr.flush()
    saved, streams = (os.dup(1), os.dup(2)), (sys.stdout, sys.stderr)
    try:
        os.dup2(target.fileno(), 1)
        os.dup2(target.fileno(), 2)
        sys.stdout = sys.stderr = target
        with (
            os.fdopen(os.dup(saved[0]), "w", encoding=streams[0].encoding, errors="replace", buffering=1) as terminal,
            heard_on(saved[1]),
        ):
            yield Console(file=terminal)
    finally:
        sys.stdout, sys.stderr = streams
        for number, copy in zip((1, 2), saved, strict=True):
            os.dup2(copy, number)
            os.close(copy)
