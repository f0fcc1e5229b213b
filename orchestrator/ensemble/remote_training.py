"""A training on whatever host: its checkpoints lie where the next host, should this one die, can go on from them."""

from __future__ import annotations

import io
import logging
import tarfile
import tempfile
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path

from orchestrator.storage.storage import Storage, reason
from trainables import checkpoint, held_out
from trainables.data import Prepared
from trainables.held_out import Job, Outcome
from trainables.models.weights import Source

log = logging.getLogger(__name__)


def train(
    job: Job, storage: Storage, data: Prepared, source: Source | None, *, gpu: bool = False, threads: int = 1
) -> Outcome:
    """As `held_out.train`, for a job whose folders are named as on the driver's host.

    Under a URI an unfinished training is one file, `<name>.part.tar`: a host that dies leaves it whole, or as it was.
    """
    if not storage.uri:
        return held_out.train(job, data, source, gpu=gpu, threads=threads)
    kept = job.folder.with_name(f"{job.folder.name}.part.tar")
    if storage.has(job.folder / checkpoint.WEIGHTS):  # a host finished it, and died before it could say so
        return _there(job, storage, kept)

    def keep(part: Path) -> None:
        packed = part.with_name(kept.name)
        with tarfile.open(packed, "w") as tar:
            tar.add(part, part.name)
        try:
            storage.send(kept, packed)
        except OSError as error:  # the next one may get through
            log.warning("%s: %s", storage.shown(kept), reason(error))

    begun = storage.borrow(job.start) if job.start else nullcontext()
    with tempfile.TemporaryDirectory() as scratch, begun as start:
        here = replace(job, folder=Path(scratch) / job.folder.name, start=start)
        if unfinished := storage.read(kept):
            # Damaged, it is trained again.
            with suppress(tarfile.TarError), tarfile.open(fileobj=io.BytesIO(unfinished)) as tar:
                tar.extractall(scratch, filter="data")
        outcome = held_out.train(here, data, source, gpu=gpu, threads=threads, saved=keep)
        if storage.has(job.folder / checkpoint.WEIGHTS):  # another ensemble was first: all predict with the same
            return _there(job, storage, kept)
        # The weights last: a job is done where they are.
        for name in (checkpoint.DESCRIPTION, checkpoint.WEIGHTS):
            storage.send(job.folder / name, here.folder / name)
    storage.delete(kept)
    return outcome


def _there(job: Job, storage: Storage, kept: Path) -> Outcome:
    storage.delete(kept)
    with storage.borrow(job.folder) as folder:
        return replace(job, folder=folder).outcome


def bring(job: Job, storage: Storage) -> None:
    """Have a finished training's checkpoint on this host, where another has finished it.

    Raises:
        OSError: it cannot be read.
    """
    if storage.uri and not job.done and storage.has(job.folder / checkpoint.WEIGHTS):
        storage.fetch(job.folder)
