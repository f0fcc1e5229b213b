"""Trainings and predictions beside a search, as Ray tasks: as many at a time as there are slots, kept when done."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch

from orchestrator.ensemble import away
from orchestrator.product.networks import Logits, load_network, network_logits
from orchestrator.resources import Resources
from orchestrator.storage import Storage
from orchestrator.store import first_line
from trainables import checkpoint
from trainables.data import Prepared
from trainables.held_out import Job
from trainables.models.weights import Source

#: A task whose worker or host dies, or whose storage goes away, is tried again so often; a training goes on from its
#: last checkpoint.
RETRIES = 5
#: Logits beyond are cut: half precision holds up to 65,504.
LARGEST = 1e4


@dataclass(frozen=True)
class Ask:
    """What a checkpoint says of these rows (int64) of prepared data."""

    checkpoint: Path
    data: Prepared
    rows: np.ndarray
    mirrored: bool = False


def _train(
    job: Job, storage: Storage, data: Prepared, source: Source | None, gpu: bool, threads: int
) -> dict[str, Any]:
    storage.await_answer()
    return away.train(job, storage, data, source, gpu=gpu, threads=threads)


def _predict(
    folder: Path, storage: Storage, data: Prepared, rows: np.ndarray, mirrored: bool, gpu: bool, threads: int
) -> Logits:
    torch.set_num_threads(threads)
    storage.await_answer()
    with storage.borrow(folder) as weights:
        described = json.loads((weights / checkpoint.DESCRIPTION).read_text())
        file, device = weights / checkpoint.WEIGHTS, "cuda" if gpu else "cpu"
        model = load_network(file, described["task"], described["config"], device)
    said = network_logits(model, data.images[rows], tta=mirrored)
    planes = None if said.planes is None else _finite(said.planes).astype(np.float16)
    return Logits(None if said.classes is None else _finite(said.classes), planes)


def _finite(logits: np.ndarray) -> np.ndarray:
    """A network that overflows on an image knows nothing about it, and infinity fits no combination."""
    return np.nan_to_num(logits, nan=0.0).clip(-LARGEST, LARGEST)


# Under names of their own: where a decorator takes a function's name, Ray pickles its code with all that it mentions,
# which torch does not survive, instead of where to find it.
_TRAIN, _PREDICT = (ray.remote(max_retries=RETRIES, retry_exceptions=[OSError])(task) for task in (_train, _predict))


class Workers:
    """Runs trainings and predictions.

    Args:
        share: slots, and the cores and GPUs of each task.
        cache: folder for predictions; made if absent.
        storage: where checkpoints are.
    """

    def __init__(self, share: Resources, cache: Path, storage: Storage) -> None:
        self.slots, self.storage, self._share, self._cache = share.slots, storage, share, cache
        self._stored: dict[str, Any] = {}

    def train(
        self,
        jobs: Mapping[str, Job],
        data: Mapping[str, Prepared],
        sources: Mapping[str, Source | None],
        finished: Callable[[str, dict[str, Any] | BaseException], None],
    ) -> None:
        """Train what is not trained yet, and tell of each job as it ends: its outcome, or why it failed.

        Args:
            jobs, data, sources: by a key of the job.
            finished: called in this thread, with the outcome or with what was raised.
        """
        running = {}
        for key, job in jobs.items():
            if not job.done:
                given = (self._put(data[key]), sources[key], bool(self._share.gpus), self._share.cpus)
                running[self._sized(_TRAIN).remote(job, self.storage, *given)] = key
        while running:
            (task,), _ = ray.wait(list(running))
            try:
                outcome: dict[str, Any] | BaseException = ray.get(task)
                self.storage.await_answer()
                self.storage.fetch(jobs[running[task]].folder)
            except OSError as error:
                outcome = error
            except ray.exceptions.RayError as error:
                outcome = _cause(error)
            finished(running.pop(task), outcome)

    def predict(self, asks: Sequence[Ask]) -> list[Logits | str]:
        """What each checkpoint says, or why it cannot; from the cache where it was asked before."""
        files = [self._file(ask) for ask in asks]
        answers = [_read(file) for file in files]
        running = {
            self._sized(_PREDICT).remote(
                *(ask.checkpoint, self.storage, self._put(ask.data), ask.rows, ask.mirrored),
                *(bool(self._share.gpus), self._share.cpus),
            ): i
            for i, ask in enumerate(asks)
            if answers[i] is None
        }
        said: list[Logits | str] = [answer or "" for answer in answers]
        while running:
            (task,), _ = ray.wait(list(running))
            i = running.pop(task)
            try:
                outputs = ray.get(task)
                _write(files[i], outputs)
                said[i] = outputs
            except ray.exceptions.RayError as error:
                said[i] = first_line(_cause(error))
        return said

    def _sized(self, task: Any) -> Any:
        return task.options(num_cpus=self._share.cpus, num_gpus=self._share.gpus)

    def _put(self, data: Prepared) -> Any:
        if data.prepared_fingerprint not in self._stored:
            self._stored[data.prepared_fingerprint] = ray.put(data)
        return self._stored[data.prepared_fingerprint]

    def _file(self, ask: Ask) -> Path:
        weights = (ask.checkpoint / checkpoint.WEIGHTS).read_bytes()
        parts = (weights, ask.data.prepared_fingerprint.encode(), ask.rows.tobytes(), bytes([ask.mirrored]))
        name = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()
        return self._cache / f"{name[:32]}.npz"


def _cause(error: Exception) -> BaseException:
    """What a task raised, or what became of its worker."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, BaseException) else error


def _read(file: Path) -> Logits | None:
    try:
        with np.load(file) as found:
            return Logits(found.get("classes"), found.get("planes"))
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return None


def _write(file: Path, said: Logits) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    with part.open("wb") as stream:
        np.savez(stream, **{name: array for name, array in said._asdict().items() if array is not None})
    os.replace(part, file)
