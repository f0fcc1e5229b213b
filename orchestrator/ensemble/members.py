"""Who trains and asks the members of an ensemble: fold models of candidates, and new members of boosting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import ray
from scipy.special import softmax

from orchestrator.common.console import say
from orchestrator.common.errors import UserError, first_line
from orchestrator.config import loading
from orchestrator.config.search import SearchSettings
from orchestrator.ensemble import remote_training
from orchestrator.ensemble.candidates import Candidate
from orchestrator.ensemble.deadline import NO_TIME, Deadline
from orchestrator.ensemble.forecast import makespan
from orchestrator.ensemble.member import Member, PredictionRequest
from orchestrator.ensemble.member_predictions import held_out_rows
from orchestrator.ensemble.tasks import TaskPool
from orchestrator.tracking.tracker import Tracker
from trainables.data import Prepared
from trainables.held_out import Job, Outcome
from trainables.models.weights import Source, find
from trainables.tasks import Task

#: Configurations that re-balance the classes.
REBALANCED = ("sampler", "oversample", "weights")


def _for_good(error: BaseException) -> bool:
    """Whether a training would fail again: not for a full disk, or a worker that died."""
    return not isinstance(error, OSError | ray.exceptions.RayError)


@dataclass(frozen=True)
class MemberTrainer:
    """Trains and asks the members of one ensemble.

    Attributes:
        task: what they do.
        search: settings of the search whose data they share.
        data: these data at that search's size.
        workers: who trains and predicts.
        tta: predict each image and its mirror image.
        out_of_fold: train candidates on the other folds, too.
        deadline: when trainings have to end.
        prepared: data by image size and mask mode, as they were asked for.
    """

    task: Task
    search: SearchSettings
    data: Prepared
    workers: TaskPool
    tta: bool
    out_of_fold: bool
    deadline: Deadline = field(default_factory=Deadline)
    prepared: dict[tuple[int, str], Prepared] = field(default_factory=dict)

    def data_for(self, candidate: Candidate) -> Prepared:
        """The data as a candidate takes them.

        Raises:
            UserError: they changed, or it was trained on images of another geometry.
        """
        own = candidate.search
        if own.keep_aspect != self.search.keep_aspect:
            raise UserError("its images are letterboxed and those of better candidates are not, or the other way round")
        return self.data_at(candidate.image_size, own.masks)

    def data_at(self, image_size: int, masks: str = "merge") -> Prepared:
        """The data at a size, with the union of an image's masks or a sample of each to train on.

        Raises:
            UserError: they changed.
        """
        key = image_size, masks
        if key not in self.prepared:
            settings = self.search.model_copy(update={"image_size": image_size, "masks": masks})
            self.prepared[key] = loading.read(settings, quiet=True)[0]
        data = self.prepared[key]
        if data.data_fingerprint != self.data.data_fingerprint:
            raise UserError("files, labels, groups or split changed while they were read; run it again")
        return data

    def source_for(self, candidate: Candidate) -> Source:
        """Where its encoder's weights come from.

        Raises:
            UserError: they are not here any more.
        """
        try:
            source = find(candidate.encoder, candidate.search.weights)
        except ValueError as error:
            raise UserError(str(error)) from None
        if source.words != candidate.weights:
            raise UserError(f"weights of {candidate.encoder} were {candidate.weights} and are {source.words} here")
        return source

    def preview(self, candidate: Candidate) -> list[np.ndarray]:
        """Its predictions for the validation images, by which near-identical candidates are told: for `select`.

        Raises:
            UserError: it cannot predict, or cannot be trained again.
        """
        if self.out_of_fold:
            self.source_for(candidate)
        data = self.data_for(candidate)
        (rows,) = held_out_rows(self.task, data, [0])
        (said,) = self.workers.predict([PredictionRequest(candidate.checkpoint, data, rows, self.tta)])
        if isinstance(said, str):
            raise UserError(f"it cannot predict ({said})")
        heads = [] if said.classes is None else [softmax(said.classes.astype(np.float64), axis=1)]
        return heads if said.planes is None else [*heads, said.planes > 0]

    def fold_job(self, candidate: Candidate, fold: int) -> Job:
        """The training of a candidate's model that never sees a fold."""
        # Cosine to zero at the epoch of its best: no epoch is chosen by the fold that is held out.
        config = {**candidate.config, "epochs": candidate.epoch, "early_stop": 0}
        # A trial that was promoted since has another best epoch, and needs other models.
        folder = candidate.search.files.folds / f"{candidate.trial_id}-{candidate.epoch}" / f"fold-{fold}"
        return Job(folder, self.task.name, config, fold)

    def in_time(self, jobs: Mapping[str, Job], owner: Mapping[str, Candidate]) -> bool:
        """Whether what is left of these trainings ends before the deadline."""
        seconds = [job.config["epochs"] * owner[key].seconds for key, job in jobs.items() if not job.done]
        return not seconds or self.deadline.left >= makespan(seconds, self.workers.slots)

    def member(self, name: str, candidate: Candidate, checkpoints: Mapping[int, Path]) -> Member:
        """A member with a candidate's configuration."""
        rebalanced = candidate.config.get("balance") in REBALANCED
        return Member(name, checkpoints, self.data_for(candidate), rebalanced, candidate.weights)

    def train(
        self, jobs: Mapping[str, Job], owner: Mapping[str, Candidate], tracker: Tracker, *, kind: str
    ) -> dict[str, str]:
        """Train what is not trained yet, a run each; returns why jobs failed for good, or had no time, by key.

        Raises:
            UserError: a training failed that may succeed another time.
        """
        failed: dict[str, str] = {}
        self.workers.storage.await_answer()
        for job in jobs.values():
            remote_training.bring(job, self.workers.storage)
        waiting = {key: job for key, job in jobs.items() if not job.done}
        if not self.in_time(jobs, owner):
            return dict.fromkeys(waiting, NO_TIME)
        told = set[str]()
        if waiting:
            say(f"{kind:9} {len(waiting)} of {len(jobs)} models to train, {self.workers.slots} at a time")

        def open_run(key: str) -> None:
            job = jobs[key]
            params = {**job.config, "fold": job.fold, "start": str(job.start or ""), "trial": owner[key].run_id}
            name = f"{kind} {job.fold} of {owner[key].name}"
            tracker.start_trial(key, name, params, {"task": job.task, "fold": str(job.fold)}, kind=kind)

        def close_run(key: str, outcome: Outcome) -> None:
            metrics = {f"held_out/{name}": value for name, value in outcome.metrics.items()}
            tracker.log(key, {**metrics, "train_seconds": outcome.seconds}, step=jobs[key].config["epochs"])
            tracker.end_trial(key, "FINISHED", {})

        def finished(key: str, outcome: Outcome | BaseException) -> None:
            told.add(key)
            done = f"{len(failed) + sum(job.done for job in jobs.values())}/{len(jobs)}"
            if isinstance(outcome, BaseException):
                reason = first_line(outcome)
                tracker.end_trial(key, "FAILED", {"reason": reason})
                which = f"{owner[key].name}, fold {jobs[key].fold}"
                if not _for_good(outcome):  # another time it may be trained, and be part of another winner
                    raise UserError(f"{kind} of {which} failed ({reason}); the same command goes on")
                failed[key] = reason
                say(f"{kind:9} {done}  {which}: failed ({reason})")
                return
            close_run(key, outcome)
            score = outcome.metrics.get(self.task.primary)
            shown = "" if score is None else f"  {self.task.primary} {score:.4f}"
            say(f"{kind:9} {done}  {owner[key].name}, fold {jobs[key].fold}{shown}  {outcome.seconds:.0f} s")

        written = tracker.finished(kind)
        for key in jobs:
            if key in waiting:
                open_run(key)
            elif key not in written:  # trained, and a crash kept it from being written
                open_run(key)
                close_run(key, jobs[key].outcome)
        data = {key: self.data_for(owner[key]) for key in waiting}
        sources = {key: self.source_for(owner[key]) for key in waiting}
        self.workers.train(waiting, data, sources, finished, self.deadline.over)
        for key in waiting.keys() - told:
            if jobs[key].done:
                close_run(key, jobs[key].outcome)
            else:
                failed[key] = NO_TIME
                tracker.end_trial(key, "KILLED", {"reason": failed[key]})
        return failed
