"""A search's small files under the URI of its storage: sent while it runs, fetched where another host goes on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from orchestrator.cli import UserError
from orchestrator.ledger import FILE, RESERVE
from orchestrator.resume import SETTINGS
from orchestrator.storage import Storage
from orchestrator.store import first_line

log = logging.getLogger(__name__)

#: Seconds between two looks at what changed.
SECONDS = 30.0
#: Folders of a search with checkpoints: workers write them to the URI by themselves.
CHECKPOINTS = ("tune", "folds", "ensemble/boost")


@contextmanager
def mirrored(storage: Storage, folder: Path, console: Console) -> Iterator[None]:
    """While this lasts, and once more at its end, what changes in a search's folder is sent to the URI.

    What cannot be sent is told at the end and stays here; it is not worth failing for.
    """
    if not storage.uri:
        yield
        return
    sent: dict[Path, tuple[int, int]] = {}
    over = threading.Event()

    def follow() -> None:
        while not over.wait(SECONDS):
            _send(storage, folder, sent)

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        if problem := _send(storage, folder, sent):
            line = f"{storage.shown(folder)} lacks what is new in {folder} ({problem}); copy it there"
            console.print(line, markup=False, highlight=False, soft_wrap=True)


def pull(storage: Storage, name: str = "") -> None:
    """Fetch searches from the URI that another host has written, or gone on with; checkpoints stay there.

    Args:
        name: a search; without it, those that are not here.

    Raises:
        UserError: the URI cannot be read, or the search went on here and there.
    """
    try:
        for folder in [storage.home / name] if name else storage.children(storage.home):
            if name or not folder.exists():
                _pull(storage, folder)
    except OSError as error:
        raise UserError(f"--storage {storage.uri}: {first_line(error)}") from None


def _pull(storage: Storage, folder: Path) -> None:
    ledger = folder / FILE
    there = storage.read(ledger)
    here = ledger.read_bytes() if ledger.is_file() else b""
    if here.startswith(there) or not storage.has(folder / SETTINGS):
        return
    # The URI has the lines that were whole when they were sent, and perhaps the beginning of another.
    if not there.startswith(here[: here.rfind(b"\n") + 1]):
        raise UserError(
            f"--resume {folder.name}: it went on both here and in {storage.shown(folder)}; move {folder} away to go on "
            "with what is there"
        )
    # The ledger last: cut off before that, the next try begins again.
    for file in sorted(storage.files(folder, without=CHECKPOINTS), key=lambda file: file == ledger):
        file.unlink(missing_ok=True)
        storage.fetch(file)


def _send(storage: Storage, folder: Path, sent: dict[Path, tuple[int, int]]) -> str:
    """Send what changed since; returns what went wrong, "" for nothing."""
    problem = ""
    for file in _files(folder):
        try:
            now = file.stat()
            stamp = now.st_mtime_ns, now.st_size
            if sent.get(file) != stamp:
                storage.send(file)
                sent[file] = stamp
        except FileNotFoundError:
            continue  # replaced, or deleted, since the folder was read
        except OSError as error:
            problem = first_line(error)
    if problem:
        log.warning("%s: %s", storage.shown(folder), problem)
    return problem


def _files(folder: Path) -> list[Path]:
    """Its files but checkpoints, locks and what is being written."""
    passing = (".part", ".lock", ".old", ".new")
    found = []
    for file in sorted(folder.rglob("*")):
        inside = file.relative_to(folder)
        kept = not any(part.startswith(".") or part.endswith(passing) for part in inside.parts)
        small = not any(inside.is_relative_to(part) for part in CHECKPOINTS) and inside.name not in (RESERVE, "lock")
        if kept and small and file.is_file():
            found.append(file)
    return found
