"""Pictures and final figures of every trial with a checkpoint: drawn by workers after a search, best first."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ray

from orchestrator.cluster.workers import WorkerPool
from orchestrator.common.console import progress_bar, say
from orchestrator.common.errors import first_line
from orchestrator.scoring.packed_masks import PackedMasks
from orchestrator.storage.storage import Storage
from orchestrator.tracking.tracker import Tracker
from orchestrator.tuning.search_run import SearchRun
from orchestrator.tuning.summary import TrialSummary, best_first
from orchestrator.tuning.trial_figures import draw, drawn, shown_rows
from trainables import unfinished
from trainables.data import DataError, Prepared
from trainables.evaluation import read_merged_mask
from trainables.tasks import Task

log = logging.getLogger(__name__)

#: Marks pictures that MLflow holds.
LOGGED = "in-mlflow"
#: MLflow shows them in this folder of a run's artifacts.
ARTIFACTS = "validation"


def _draw(
    folder: Path, storage: Storage, data: Prepared, originals: PackedMasks | None, gpu: bool, threads: int
) -> dict[str, bytes]:
    """The files by name: only the driver writes to the search's folder."""
    with storage.borrow(folder) as weights:
        return draw(weights, data, originals, gpu=gpu, threads=threads)


def _keep(files: Mapping[str, bytes], home: Path) -> None:
    """Write the files of a folder that is whole or not there; what was there is replaced."""
    with unfinished.beside(home) as part:
        part.mkdir(parents=True)
        for name, content in files.items():
            (part / name).write_bytes(content)
        shutil.rmtree(home, ignore_errors=True)
        part.rename(home)


def log_again(folder: Path) -> None:
    """Forget that MLflow has the pictures in a search's folder: it will be another store."""
    for mark in folder.glob(f"*/{LOGGED}"):
        mark.unlink()


def log_all(run: SearchRun, trials: Sequence[TrialSummary], tracker: Tracker) -> list[Path]:
    """Draw the trials that have no pictures yet, and have MLflow take what it lacks.

    Pictures are worth having, and not worth losing a finished search for: what fails is logged and left out, and an
    interrupt leaves out the rest.

    Returns:
        Folders that the tracker was given; mark them `LOGGED` once it has written them.
    """
    given: list[Path] = []
    pictures, share = run.settings.files.pictures, run.share

    def hand_over(row: TrialSummary, scores: dict[str, float] | None) -> None:
        home = pictures / row.trial_id
        if scores is None or (home / LOGGED).exists():
            return
        tracker.adopt(row.trial_id)
        for file in sorted(home.glob("*.png")):
            tracker.log_picture(row.trial_id, file, ARTIFACTS, step=row.epochs)
        original = {f"original_size/{name}": value for name, value in scores.items()}
        tracker.log(row.trial_id, original, step=row.epochs)
        given.append(home)

    try:
        run.storage.await_answer()
        ranked = best_first(trials, run.storage)
    except OSError as error:
        log.warning("no pictures: %s", first_line(error))
        return []
    waiting = []
    for row, folder in ranked:
        if (scores := drawn(pictures / row.trial_id, folder)) is None:
            waiting.append((row, folder))
        else:
            hand_over(row, scores)
    try:
        with progress_bar() as bar, WorkerPool(share) as workers:
            job = bar.add_task("pictures", total=len(waiting))
            stored: Any = (ray.put(run.data), ray.put(_originals(run.task, run.data))) if waiting else ()
            rows = {row.trial_id: (row, folder) for row, folder in waiting}
            drawings = {
                trial_id: (_draw, folder, run.storage, *stored, bool(share.gpus), share.cpus)
                for trial_id, (_, folder) in rows.items()
            }
            for trial_id, found in workers.run(drawings):
                row, folder = rows[trial_id]
                try:
                    if isinstance(found, BaseException):
                        raise found
                    _keep(found, pictures / trial_id)
                except Exception as error:  # whatever was raised in a worker, or in writing here
                    log.warning("no pictures of trial %s: %s", row.name, first_line(error))
                else:
                    hand_over(row, drawn(pictures / trial_id, folder))
                bar.advance(job)
    except DataError as error:
        say(f"pictures left out: {error}")
    except KeyboardInterrupt:
        say("pictures left out")
    return given


def _originals(task: Task, data: Prepared) -> PackedMasks | None:
    """The merged masks at original size, read here: workers need no images.

    Raises:
        DataError: one cannot be read.
    """
    if task.name == "cls":
        return None
    return PackedMasks([read_merged_mask(data, row) for row in shown_rows(task, data)])
