"""Finished trials as candidates: found in MLflow, their checkpoints and configurations in the storage folder."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from orchestrator.common.errors import UserError
from orchestrator.config.cli import make_settings
from orchestrator.config.search import SearchSettings
from orchestrator.ensemble.forecast import Cost
from orchestrator.ensemble.result import ReportedCandidate
from orchestrator.storage.run_folder import NAMES, RunFolder
from orchestrator.storage.storage import Storage, reason
from orchestrator.tracking.ranking import TrialRow
from orchestrator.tuning import resume
from orchestrator.tuning.ledger import ENDED, Ledger
from search_spaces import Config
from trainables import checkpoint, checkpoint_description
from trainables.checkpoint_description import CheckpointDescription
from trainables.data.patience import openable
from trainables.stored import DamagedError

#: Candidates of one architecture, unless nothing else is left.
PER_ARCHITECTURE = 2
#: Mean disagreement (0..1) below which two candidates say the same.
NEAR_IDENTICAL = 0.01


@dataclass(frozen=True)
class Candidate:
    """A finished trial's best checkpoint.

    Attributes:
        name: by which a person tells it apart: search and trial.
        search: settings of its search.
        config: its configuration. epoch: the epoch of its best value. score: that value.
        weights: where its encoder's weights came from.
        checkpoint: folder. image_size: side of the images that it takes, pixels.
        seconds: training time an epoch.
    """

    run_id: str
    trial_id: str
    name: str
    search: SearchSettings
    config: Config
    epoch: int
    score: float
    weights: str
    checkpoint: Path
    image_size: int
    seconds: float

    @property
    def architecture(self) -> str:
        """Name in the registry."""
        return str(self.config["architecture"])

    @property
    def encoder(self) -> str:
        """timm's name, or ""."""
        return str(self.config["encoder"])

    @property
    def cost(self) -> Cost:
        """What training it again costs."""
        return Cost(self.epoch, self.seconds)

    def reported(self) -> ReportedCandidate:
        """What `ensemble.json` says of it."""
        return ReportedCandidate(run_id=self.run_id, name=self.name, architecture=self.architecture, score=self.score)


def newest_search(storage: Path, task: str) -> str:
    """The search of a task that was last at work.

    Raises:
        UserError: there is none.
    """
    found = []
    for settings in storage.glob(f"*/{NAMES.settings}"):
        ledger = RunFolder(settings.parent).ledger
        with contextlib.suppress(UserError):  # of one that is damaged nothing is known
            if ledger.is_file() and resume.stored(storage, settings.parent.name)["task"] == task:
                found.append((ledger.stat().st_mtime, settings.parent.name))
    if not found:
        raise UserError(f"no search of task {task} in {storage}; run one, or give --storage where it is elsewhere")
    return max(found)[1]


def search_settings(storage: Path, name: str) -> SearchSettings:
    """The settings that a search was run with.

    Raises:
        UserError: there is no such search.
    """
    values = resume.stored(storage, name, "--name")
    resume.run_plugins(values, None, name)
    return make_settings(
        SearchSettings, {**values, "storage": storage, "resume": ""}, RunFolder(storage / name).settings
    )


class CandidateReader:
    """The candidates of one task on one data fingerprint, best first, read as they are asked for.

    Args:
        rows: its trials in MLflow, best first.
        storage: of the searches.
        skip: told of each trial that cannot be a candidate: its name, and why.
    """

    def __init__(self, rows: Sequence[TrialRow], storage: Storage, skip: Callable[[str, str], None]) -> None:
        self._rows, self._storage, self._skip = rows, storage, skip
        self._ledgers: dict[str, Ledger | None] = {}

    def __iter__(self) -> Iterator[Candidate]:
        for row in self._rows:
            if row.status != "FINISHED" or row.best is None:
                continue
            name = f"{row.search} {row.name}"
            try:
                yield self._read(row, name)
            except (UserError, OSError) as error:
                if isinstance(error, OSError) and self._storage.uri:  # it may answer again, and have all of them
                    raise UserError(f"--storage {self._storage.uri}: {reason(error)}") from None
                self._skip(name, str(error))
            except (ValueError, KeyError) as error:
                self._skip(name, f"its checkpoint says nothing of {error}")

    def _read(self, row: TrialRow, name: str) -> Candidate:
        folder = self._storage.home / row.search
        if row.search not in self._ledgers:
            self._ledgers[row.search] = Ledger(folder, hold=False) if RunFolder(folder).ledger.is_file() else None
        ledger = self._ledgers[row.search]
        if ledger is None or ledger.identity is None or ledger.identity.id != row.search_id:
            raise UserError(f"its search is not in {self._storage.home}")
        record = ledger.trials.get(row.trial_id)
        if record is not None and record.state == "interrupted":
            raise UserError("it was interrupted and would go on; resume its search for it to count")
        if record is None or record.state not in (*ENDED, "budget") or not record.saved:
            raise UserError("it has no checkpoint of its best epoch")
        path = folder / record.checkpoint
        self._storage.await_answer()
        with contextlib.suppress(FileNotFoundError):  # which is then told
            self._storage.fetch(path)
        description = _description(path)
        best = description.best
        if not best.epoch or best.value is None:
            raise UserError("it diverged before it had learned anything")
        return Candidate(
            run_id=row.run_id,
            trial_id=row.trial_id,
            name=name,
            search=search_settings(self._storage.home, row.search),
            config=description.config,
            epoch=best.epoch,
            score=best.value,
            weights=ledger.identity.weights.get(description.config["encoder"], "random"),
            checkpoint=path,
            image_size=description.image_size,
            seconds=record.result["train_seconds"] / max(record.epoch, 1),
        )


def _description(folder: Path) -> CheckpointDescription:
    """What a checkpoint says of itself, if its weights can be read.

    Raises:
        UserError: a file is missing or damaged.
    """
    try:
        with safe_open(openable(folder / checkpoint.WEIGHTS), "pt") as weights:  # checks the length against the header
            weights.keys()
        return checkpoint_description.read(folder)
    except DamagedError as error:
        raise UserError(f"its checkpoint is damaged: {error}") from None
    except (OSError, SafetensorError) as error:
        kind = "is missing" if isinstance(error, FileNotFoundError) else "is damaged"
        raise UserError(f"its checkpoint {folder} {kind}") from None


def select(
    candidates: Iterator[Candidate],
    count: int,
    predict: Callable[[Candidate], Sequence[np.ndarray]],
    skip: Callable[[str, str], None],
) -> list[Candidate]:
    """The best candidates that differ: no two with near-identical predictions, and at most two of an architecture
    unless nothing else is left.

    Args:
        candidates: best first.
        count: how many.
        predict: a candidate's predictions on the same validation images, one array a head: class probabilities [N,K],
            masks bool [N,S,S]; raises UserError where it cannot predict.
        skip: told of each that is left out: its name, and why.
    """
    taken: list[tuple[Candidate, Sequence[np.ndarray]]] = []
    spare: list[Candidate] = []

    def consider(candidate: Candidate) -> None:
        try:
            predicted = predict(candidate)
        except UserError as error:
            skip(candidate.name, str(error))
            return
        twin = next((other for other, said in taken if _disagreement(said, predicted) < NEAR_IDENTICAL), None)
        if twin:
            skip(candidate.name, f"its predictions are nearly those of {twin.name}")
        else:
            taken.append((candidate, predicted))

    for candidate in candidates:
        if len(taken) == count:
            break
        if Counter(other.architecture for other, _ in taken)[candidate.architecture] < PER_ARCHITECTURE:
            consider(candidate)
        else:
            spare.append(candidate)
    for candidate in spare:
        if len(taken) == count:
            break
        consider(candidate)
    return sorted((candidate for candidate, _ in taken), key=lambda candidate: -candidate.score)


def _disagreement(one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> float:
    """The larger over heads of: mean total variation of class probabilities; mean 1 - Dice of masks, 0 of two empty."""
    parts = []
    for a, b in zip(one, other, strict=True):
        if a.dtype != bool:
            parts.append(np.abs(a - b).sum(1).mean() / 2)
            continue
        a, b = (x.reshape(len(x), -1) for x in (_same_size(a, b), b))
        both, total = (a & b).sum(1), a.sum(1) + b.sum(1)
        parts.append((1 - np.where(total > 0, 2 * both / np.maximum(total, 1), 1)).mean())
    return float(max(parts))


def _same_size(masks: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Masks bool [N,S,S] at the size of others, by nearest neighbour."""
    if masks.shape == like.shape:
        return masks
    index = (np.arange(like.shape[1]) + 0.5) * masks.shape[1] // like.shape[1]
    index = index.astype(np.int64)
    return masks[:, index][:, :, index]
