"""What an ensemble is built from and with: its candidates, its share of the machine, its name, its lock."""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from orchestrator.cluster import nodes, resources
from orchestrator.common.console import say
from orchestrator.common.errors import UserError
from orchestrator.config.cli import make_settings
from orchestrator.config.ensemble import EnsembleSettings
from orchestrator.config.search import SearchSettings
from orchestrator.ensemble import terminal
from orchestrator.ensemble.candidates import Candidate, CandidateReader, select
from orchestrator.ensemble.forecast import Cost, Scale, ensemble_seconds
from orchestrator.ensemble.member_predictions import held_out_rows, unscorable
from orchestrator.tracking.ranking import rank, read_trials
from orchestrator.tuning.ledger import Ledger
from orchestrator.tuning.reserve import NOTHING, Forecast
from trainables import locks
from trainables.data import Prepared
from trainables.data.manifest import TEST
from trainables.data.splits import BY_SOURCE
from trainables.tasks import Task, make_task

if TYPE_CHECKING:
    from orchestrator.ensemble.members import MemberTrainer

#: Groups that are enough to compare combiners on, and those of each class among them.
ENOUGH_GROUPS, ENOUGH_OF_A_CLASS = 140, 20


def candidates(
    settings: EnsembleSettings, search: SearchSettings, data: Prepared, team: MemberTrainer, count: int
) -> tuple[list[Candidate], float]:
    """The best that differ, best first, and the seconds that the median of them took to train."""
    rankings = rank(read_trials(settings.tracking_uri, None, search.task))
    mine = [
        ranking
        for ranking in rankings
        if (ranking.data_fingerprint, ranking.classes) == (data.data_fingerprint, search.classes)
    ]
    rows = mine[0].ranked if mine else []

    def skip(name: str, why: str) -> None:
        say(f"left out  {name}: {why}")

    found = select(iter(CandidateReader(rows, team.workers.storage, skip)), count, team.preview, skip)
    if not found:
        raise UserError(
            f"no finished trial of {search.name}'s data has a checkpoint in {settings.storage}; run a search, or give "
            "--storage and --tracking-uri where it is"
        )
    return found, statistics.median(one.cost.seconds for one in found)


def compared_folds(task: Task, data: Prepared, search: SearchSettings, *, every: bool) -> list[int]:
    """The folds that combiners are compared on: as many as give groups enough, at least 2; all of a small data set.

    Half of the groups make standard errors 1.4 times as wide, and take half of the trainings. Where each source is a
    fold none is left out: each gives a row.

    Args:
        every: all folds, however many groups there are.
    """
    folds = list(range(1, int(data.split.max()) + 1))
    if every or search.folds == BY_SOURCE:
        return folds
    parts = held_out_rows(task, data, folds)
    classes = np.unique(data.labels[np.concatenate(parts)])
    for count in range(2, len(folds)):
        rows = np.concatenate(parts[:count])
        groups, labels = data.groups[rows], data.labels[rows]
        of_each = [len(np.unique(groups[labels == label])) for label in classes if label >= 0]
        if len(np.unique(groups)) >= ENOUGH_GROUPS and min(of_each, default=ENOUGH_GROUPS) >= ENOUGH_OF_A_CLASS:
            return folds[:count]
    return folds


def scale(task: Task, data: Prepared, compared: int, slots: int) -> Scale:
    """How much an ensemble of these data does."""
    rows = data.split[task.rows(data)]
    test = int((rows == TEST).sum())
    return Scale(len(rows) - test, test, int(data.split.max()) + 1, compared, slots, task.name != "cls")


def forecast(search: SearchSettings, data: Prepared) -> Forecast:
    """What the ensemble that ends a search will take; where the data allow none, that is said before hours of it."""
    task = make_task(search.task, search.classes)
    folds = compared_folds(task, data, search, every=False)
    try:
        check_truth(task, data, folds)
    except UserError as error:
        if search.ensemble:
            say(str(error))
        return NOTHING
    own = search.model_dump(include={"task", "top_k", "boost_rounds"})
    top_k, rounds = make_settings(EnsembleSettings, own).limits(not search.data)

    def seconds(trainings: Sequence[tuple[int, float]], slots: int) -> float:
        costs = [Cost(*training) for training in trainings]
        usual = statistics.median(cost.seconds for cost in costs)
        return ensemble_seconds(costs, rounds, scale(task, data, len(folds), slots), longest_round=usual)

    return Forecast(top_k, seconds) if search.ensemble else NOTHING


def expectation(
    settings: EnsembleSettings,
    team: MemberTrainer,
    candidates: Sequence[Candidate],
    folds: Sequence[int],
    scale: Scale,
    rounds: int,
    median: float,
) -> str:
    """How long an ensemble of these candidates will take, a line; what is trained already is not counted."""
    trained = {
        (position, fold) for position, one in enumerate(candidates) for fold in folds if team.fold_job(one, fold).done
    }
    seconds = ensemble_seconds(
        [one.cost for one in candidates],
        rounds,
        scale,
        race=not settings.all_folds,
        boost_epochs=settings.boost_epochs,
        longest_round=median,
        trained=trained,
    )
    models = len(candidates) * len(folds) - len(trained)
    return terminal.planned(models, rounds if folds else 0, seconds, team.deadline.left)


def check_truth(task: Task, data: Prepared, compared: Sequence[int]) -> None:
    """See before hours of training that the images to be compared and tested on can be scored at all.

    Args:
        compared: the folds that combiners are compared on.

    Raises:
        UserError: they have no lesion, or a single class.
    """
    for words, parts in (("test images", [TEST]), ("images to be compared on", compared)):
        if why := unscorable(task, data, parts):
            raise UserError(f"no ensemble: the {words} {why}; give another split")


def share(search: SearchSettings) -> resources.TrialResources:
    """Slots for an ensemble's trainings and predictions, and what each gets, as the search's trials did."""
    nodes.wait_for_workers(search.cpus_per_trial, search.fixed_gpus)
    hosts, gpus = nodes.possible(), search.fixed_gpus
    if search.gpus_per_trial == "auto" and any(host.gpus for host in hosts):
        gpus = Ledger(search.folder, hold=False).gpus or None  # what was measured
    try:
        return resources.plan(
            hosts,
            trials=sum(host.cpus for host in hosts),
            cpus_per_trial=search.cpus_per_trial,
            gpus_per_trial=gpus,
            max_concurrent=search.max_concurrent,
        )
    except ValueError as error:
        raise UserError(str(error)) from None


def identity(
    settings: EnsembleSettings, search: SearchSettings, data: Prepared, candidates: Sequence[Candidate], rounds: int
) -> str:
    """The same for the same command on the same candidates, so that it goes on instead of beginning again."""
    own = settings.model_dump(include={"out_of_fold", "all_folds", "boost_epochs", "tta", "triage", "seed"})
    parts = [search.name, data.data_fingerprint, [(one.trial_id, one.epoch) for one in candidates], rounds, own]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


@contextmanager
def alone(lock_file: Path, name: str) -> Iterator[None]:
    """One process at a time builds the ensemble of a search.

    Raises:
        UserError: another does.
    """
    lock = locks.take(lock_file)
    if lock is None:
        raise UserError(f"the ensemble of {name} is being built by another process; wait for its end")
    try:
        yield
    finally:
        locks.release(lock)
