"""Trainings and predictions beside a search, in workers: as many at a time as there are slots, kept when done."""

from __future__ import annotations

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self, TypeGuard, TypeVar

import numpy as np
import ray
import torch

from orchestrator.cluster.resources import TrialResources
from orchestrator.cluster.workers import RETRIES, Call, WorkerPool
from orchestrator.common.errors import first_line
from orchestrator.ensemble import remote_training
from orchestrator.ensemble.member import PredictionRequest
from orchestrator.inference.networks import Logits, load_network, network_logits
from orchestrator.storage.arrays import read_arrays
from orchestrator.storage.storage import Storage, reason
from trainables import checkpoint, checkpoint_description, unfinished
from trainables.data import Prepared
from trainables.held_out import Job, Outcome
from trainables.models.weights import Source
from trainables.stored import DamagedError

log = logging.getLogger(__name__)
Key = TypeVar("Key", bound=Hashable)

#: Logits beyond are cut: half precision holds up to 65,504.
LARGEST = 1e4


def _train(job: Job, storage: Storage, data: Prepared, source: Source | None, gpu: bool, threads: int) -> Outcome:
    return remote_training.train(job, storage, data, source, gpu=gpu, threads=threads)


def _predict(
    folder: Path, storage: Storage, data: Prepared, rows: np.ndarray, tta: bool, gpu: bool, threads: int
) -> Logits:
    torch.set_num_threads(threads)
    with storage.borrow(folder) as weights:
        described = checkpoint_description.read(weights)
        file, device = weights / checkpoint.WEIGHTS, "cuda" if gpu else "cpu"
        model = load_network(file, described.task, described.config, device)
    said = network_logits(model, data.images[rows], tta=tta)
    planes = None if said.planes is None else _finite(said.planes).astype(np.float16)
    return Logits(None if said.classes is None else _finite(said.classes), planes)


def _finite(logits: np.ndarray) -> np.ndarray:
    """A network that overflows on an image knows nothing about it, and infinity fits no combination."""
    finite: np.ndarray = np.nan_to_num(logits, nan=0.0).clip(-LARGEST, LARGEST)
    return finite


class TaskPool:
    """Runs trainings and predictions; a context that ends its workers. A training goes on from its last checkpoint.

    Args:
        share: slots, and the cores and GPUs of each task.
        cache: folder for predictions; made if absent.
        storage: where checkpoints are.
    """

    def __init__(self, share: TrialResources, cache: Path, storage: Storage) -> None:
        self.slots, self.storage, self._share, self._cache = share.slots, storage, share, cache
        self._stored: dict[str, Any] = {}
        self._workers = WorkerPool(share)

    def __enter__(self) -> Self:
        self._workers.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._workers.__exit__(*error)

    def train(
        self,
        jobs: Mapping[str, Job],
        data: Mapping[str, Prepared],
        sources: Mapping[str, Source | None],
        finished: Callable[[str, Outcome | BaseException], None],
        over: Callable[[], bool] = lambda: False,
    ) -> None:
        """Train what is not trained yet, and tell of each job as it ends: its outcome, or why it failed.

        Args:
            jobs, data, sources: by a key of the job.
            finished: called in this thread, with the outcome or with what was raised.
            over: says when to give up what runs, of which nothing is told.
        """
        begin = {key: self._training(job, data[key], sources[key]) for key, job in jobs.items() if not job.done}
        for key, outcome in self._run(begin, over):
            if not isinstance(outcome, BaseException):
                try:
                    self.storage.await_answer()
                    self.storage.fetch(jobs[key].folder)
                except OSError as error:
                    outcome = error
            finished(key, outcome)

    def predict(self, asks: Sequence[PredictionRequest]) -> list[Logits | str]:
        """What each checkpoint says, or why it cannot; from the cache where it was asked before.

        Raises:
            OSError: the storage does not answer.
        """
        files = [self._file(ask) for ask in asks]
        answers = [_read(file, len(ask.rows)) for file, ask in zip(files, asks, strict=True)]
        said: list[Logits | str] = [answer or "" for answer in answers]
        begin = {i: self._prediction(ask) for i, ask in enumerate(asks) if answers[i] is None}
        for i, outputs in self._run(begin):
            if self._unanswered(outputs):
                raise outputs
            if isinstance(outputs, BaseException):
                said[i] = first_line(outputs)
                continue
            _write(files[i], outputs)
            said[i] = outputs
        return said

    def _run(self, calls: Mapping[Key, Call], over: Callable[[], bool] = lambda: False) -> Iterator[tuple[Key, Any]]:
        """The calls as they end: what they return, or raise. What the storage kept from its end is begun again."""
        tries, left = Counter[Key](), dict(calls)
        while left:
            again = dict[Key, Call]()
            for key, found in self._workers.run(left, over):
                if self._unanswered(found) and tries[key] < RETRIES:
                    tries[key] += 1
                    log.warning("storage %s: %s; the ensemble waits", self.storage.uri, reason(found))
                    with suppress(OSError):
                        self.storage.await_answer()
                        again[key] = left[key]
                        continue
                yield key, found
            left = again

    def _training(self, job: Job, data: Prepared, source: Source | None) -> Call:
        return (_train, job, self.storage, self._put(data), source, bool(self._share.gpus), self._share.cpus)

    def _prediction(self, ask: PredictionRequest) -> Call:
        given = (ask.checkpoint, self.storage, self._put(ask.data), ask.rows, ask.tta)
        return (_predict, *given, bool(self._share.gpus), self._share.cpus)

    def _unanswered(self, found: Any) -> TypeGuard[OSError]:
        """Whether a task failed for want of what hosts share under a URI: no fault of this host, or of a file."""
        its_own = isinstance(found, FileNotFoundError) or getattr(found, "errno", None) is not None
        return bool(self.storage.uri) and isinstance(found, OSError) and not its_own

    def _put(self, data: Prepared) -> Any:
        if data.prepared_fingerprint not in self._stored:
            self._stored[data.prepared_fingerprint] = ray.put(data)
        return self._stored[data.prepared_fingerprint]

    def _file(self, ask: PredictionRequest) -> Path:
        weights = (ask.checkpoint / checkpoint.WEIGHTS).read_bytes()
        parts = (weights, ask.data.prepared_fingerprint.encode(), ask.rows.tobytes(), bytes([ask.tta]))
        name = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()
        return self._cache / f"{name[:32]}.npz"


def _read(file: Path, images: int) -> Logits | None:
    """What was predicted for so many images before; None where nothing was, or the file is damaged."""
    try:
        found = read_arrays(file)
    except (OSError, DamagedError):
        return None
    said = Logits(found.get("classes"), found.get("planes"))
    fits = [len(one) == images and one.dtype.kind == "f" for one in said if one is not None]
    return said if fits and all(fits) else None


def _write(file: Path, said: Logits) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with unfinished.beside(file) as part:
        with part.open("wb") as stream:
            np.savez(stream, **{name: array for name, array in said._asdict().items() if array is not None})
        os.replace(part, file)
