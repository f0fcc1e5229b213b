"""A search's small files under the URI of its storage: sent while it runs, fetched where another host goes on."""

from __future__ import annotations

import errno
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from orchestrator.common.console import say
from orchestrator.common.errors import UserError
from orchestrator.storage.run_folder import NAMES, RunFolder
from orchestrator.storage.storage import Storage, reason
from trainables import processes

log = logging.getLogger(__name__)

#: Seconds between two looks at what changed.
SECONDS = 30.0
#: Folders of a search with checkpoints: workers write them to the URI by themselves.
CHECKPOINTS = tuple(path.as_posix() for path in (NAMES.tune, NAMES.folds, NAMES.boost))
#: A process at work that is silent for so many seconds is taken for dead.
SILENCE = 4 * SECONDS


@contextmanager
def mirrored(storage: Storage, folder: Path, *, held: bool = True) -> Iterator[None]:
    """While this lasts, and once more at its end, what changes in a search's folder is sent to the URI.

    What cannot be sent is told at the end and stays here; it is not worth failing for.

    Args:
        held: whether this process holds the search, as its ensemble alone does not.

    Raises:
        UserError: a process on another host is at work on it.
    """
    if not storage.uri:
        yield
        return
    if held:
        with suppress(OSError):  # told below
            _refuse_held(storage, folder)
    # What an ensemble finds of a search may have gone on elsewhere: of that, only what changes is sent.
    sent = {} if held else {file: _stamp(file) for file in folder.glob("*") if file.is_file()}
    over = threading.Event()

    def follow() -> None:
        problem = ""
        while True:
            before, problem = problem, _send(storage, folder, sent)
            if problem and not before:
                log.warning("%s: %s; trying on", storage.shown(folder), problem)
            if over.wait(SECONDS):
                return

    def hold() -> None:
        while True:
            with suppress(OSError):  # `follow` tells of it
                storage.write(RunFolder(folder).holder, f"{os.getpid()} {socket.gethostname()}".encode())
            if over.wait(SECONDS):
                return

    # Two, as sending can take longer than silence may.
    threads = [threading.Thread(target=work, daemon=True) for work in ((hold, follow) if held else (follow,))]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()
        if problem := _send(storage, folder, sent):
            line = f"{storage.shown(folder)} lacks what is new in {folder} ({problem}); go on here, or copy it there"
            say(line)
        elif held:
            storage.delete(RunFolder(folder).holder)


def pull(storage: Storage, name: str = "") -> None:
    """Fetch searches from the URI that another host has written, or gone on with; checkpoints stay there.

    Args:
        name: a search to go on with; without it, all.

    Raises:
        UserError: the URI cannot be read, there is no such search, another host is at work on it, or it went on here
            and there.
    """
    if problem := storage.trouble():
        raise UserError(f"--storage {storage.uri}: {problem}")
    try:
        if name:
            _refuse_held(storage, storage.home / name)
        for folder in [storage.home / name] if name else storage.children(storage.home):
            _pull(storage, folder)
        if name and not RunFolder(storage.home / name).settings.is_file():
            there = [path.name for path in storage.children(storage.home) if storage.has(RunFolder(path).settings)]
            found = f"there are {', '.join(there)}" if there else "there is none"
            raise UserError(f"--resume: no search {name!r} in {storage.uri} ({found})")
    except OSError as error:
        raise UserError(f"--storage {storage.uri}: {reason(error)}") from None


def _pull(storage: Storage, folder: Path) -> None:
    ledger = RunFolder(folder).ledger
    there, here = _whole(storage.read(ledger)), _whole(ledger.read_bytes()) if ledger.is_file() else b""
    if (ledger.is_file() and here.startswith(there)) or not storage.has(RunFolder(folder).settings):
        return
    if not there.startswith(here):
        raise UserError(
            f"search {folder.name} went on both here and in {storage.shown(folder)}; move {folder} away to go on with "
            "what is there"
        )
    # The ledger last: cut off before that, the next try begins again.
    found = storage.files(folder, without=(*CHECKPOINTS, NAMES.holder.name))
    for file in sorted(found, key=lambda file: file == ledger):
        file.unlink(missing_ok=True)
        storage.fetch(file)


def _send(storage: Storage, folder: Path, sent: dict[Path, tuple[int, int]]) -> str:
    """Send what changed since; returns what went wrong, "" for nothing."""
    problem, ledger = "", RunFolder(folder).ledger
    # Last of all, and as it was at first: the study must know of the trials that the ledger tells of.
    last = {ledger: (_stamp(ledger), _whole(ledger.read_bytes()))} if ledger.is_file() else {}
    for file in [*_files(folder), *last]:
        try:
            stamp, events = last.get(file) or (_stamp(file), None)
            if sent.get(file) == stamp:
                continue
            if events is None:
                storage.send(file)
            else:
                storage.write(file, events)
            sent[file] = stamp
        except OSError as error:
            if error.errno == errno.ENOENT:
                continue  # replaced, or deleted, since the folder was read
            problem = reason(error)
            if error.errno is None:
                break  # the server's, not the file's: the others need not wait for the same
    return problem


def _refuse_held(storage: Storage, folder: Path) -> None:
    info = storage.filesystem.get_file_info(storage.where(RunFolder(folder).holder)) if storage.filesystem else None
    if info is None or not info.is_file or time.time() - info.mtime.timestamp() > SILENCE:
        return
    pid, _, host = storage.read(RunFolder(folder).holder).decode(errors="replace").partition(" ")
    if not pid.isdecimal():
        raise UserError(f"{storage.shown(RunFolder(folder).holder)}: damaged; delete it, if no host is at work on this")
    # Two of the same process are kept apart by the ledger.
    if host != socket.gethostname() or (int(pid) != os.getpid() and processes.beginning(int(pid)) is not None):
        raise UserError(
            f"--resume {folder.name}: it is running already (process {pid} on {host}); wait for its end, or, if that "
            f"host is dead, {SILENCE:.0f} s"
        )


def _whole(content: bytes) -> bytes:
    """Without a last line that is half-written."""
    return content[: content.rfind(b"\n") + 1]


def _stamp(file: Path) -> tuple[int, int]:
    found = file.stat()
    return found.st_mtime_ns, found.st_size


def _files(folder: Path) -> Iterator[Path]:
    """Its files but the ledger, checkpoints, locks and what is being written."""

    def kept(inside: Path) -> bool:
        passing = inside.name.startswith(".") or inside.name.endswith((".part", ".lock", ".old", ".new"))
        own = inside.name in (NAMES.reserve.name, NAMES.ensemble_lock.name)
        return not passing and not own and inside.as_posix() not in (*CHECKPOINTS, NAMES.ledger.name)

    for place, folders, names in os.walk(folder):
        inside = Path(place).relative_to(folder)
        folders[:] = sorted(name for name in folders if kept(inside / name))
        yield from (Path(place) / name for name in sorted(names) if kept(inside / name))
