"""Candidates become members: a model for each compared fold, of those alone that can still win, or add to others."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import takewhile

import numpy as np

from orchestrator.common.console import say
from orchestrator.common.errors import UserError
from orchestrator.ensemble.candidates import Candidate
from orchestrator.ensemble.combiners.fits import Fits
from orchestrator.ensemble.deadline import NO_TIME
from orchestrator.ensemble.forecast import Scale, finish_seconds, folds_at_once
from orchestrator.ensemble.held_out import OutOfFoldPredictions
from orchestrator.ensemble.member import Member
from orchestrator.ensemble.member_predictions import held_out, unscorable
from orchestrator.ensemble.members import MemberTrainer
from orchestrator.ensemble.selection import CombinerResult
from orchestrator.scoring import weighted
from orchestrator.scoring.metrics import PRIMARY
from orchestrator.scoring.resampling import CHOICE, resample_counts
from orchestrator.tracking.tracker import Tracker
from trainables.held_out import Job

#: Standard errors of the paired difference by which a candidate is behind the best where it may be left out: on fold
#: 0, which chose all of them, and on the folds that combiners are compared on.
BEHIND_ON_FOLD_0, BEHIND = 2.0, 1.0
#: Of the metric: what adds less to a mean adds nothing, however small the standard error of noise is.
LEAST_GAIN = 1e-3


def entrants(team: MemberTrainer, candidates: Sequence[Candidate], seed: int) -> list[Candidate]:
    """Those that a race begins with: who is far behind on fold 0 costs nothing to see, and is not trained again."""
    return _without_hopeless(team, candidates, [0], BEHIND_ON_FOLD_0, seed)


def race(
    team: MemberTrainer,
    candidates: Sequence[Candidate],
    folds: Sequence[int],
    scale: Scale,
    tracker: Tracker,
    *,
    drop: bool,
    seed: int,
) -> tuple[list[Candidate], list[Member]]:
    """Those candidates that are members of the ensemble, each with its models of the same folds.

    Fold after fold is trained, and between them candidates that can neither win nor add (`hopeless`) are left out.
    What is decided follows from predictions of trained models, so that the same command decides the same again. Who is
    left out is left out of everything: it was clearly behind on the folds that combiners are compared on, so that the
    comparison of the others gains little by its going.

    Where the deadline does not allow it, a fold less is trained; of the first, fewer candidates. Folds that cannot be
    scored without the missing ones do not count. One whose training fails for good is left out by name.

    Args:
        candidates: best first. folds: to be compared on; none for models of fold 0 alone.
        drop: whether candidates are left out; at least 2 remain.

    Raises:
        UserError: none is left, or a training failed that may succeed another time.
    """

    def keep_free(compared: int) -> None:
        costs = [one.cost for one in racing]
        team.deadline.reserve = finish_seconds(costs, scale._replace(compared=compared))

    racing, trained = list(candidates), [0]
    keep_free(0)
    while len(trained) <= len(folds):
        left = list(folds[len(trained) - 1 :])
        if drop and len(trained) > 1:
            racing = _without_hopeless(team, racing, trained, BEHIND, seed)
        keep_free(len(trained))
        chunk = left[: folds_at_once(len(racing), len(left), team.workers.slots, race=drop)]
        entered, chunk = _in_time(team, racing, chunk, fewer=len(trained) == 1)
        failed = _train(team, entered, chunk, tracker)
        racing = [one for one in racing if one.name not in failed]
        if not racing:
            raise UserError("no candidate is left: all of their fold models failed; see the log")
        if len(trained) == 1:
            there = [one for one in racing if team.fold_job(one, left[0]).done]
            if racing[0] in there:  # else the optimistic comparison of all is worth more than an honest one of the rest
                if lost := len(racing) - len(there):
                    team.deadline.lack(f"{lost} of {len(racing)} candidates")
                racing = there
        done = _whole(team, racing, chunk)
        trained += done
        if not chunk or len(done) < len(chunk):
            break
    if len(trained) > 1 and unscorable(team.task, team.data, trained[1:]):  # which all of the folds together are not
        trained = [0]
    if len(trained) == 1 and folds:
        team.deadline.lack("out-of-fold predictions")
    elif len(trained) <= len(folds):
        team.deadline.lack(f"{len(folds) + 1 - len(trained)} of {len(folds)} compared folds")
    return racing, [_member(team, one, trained) for one in racing]


def hopeless(task: str, held: OutOfFoldPredictions, errors: float, seed: int) -> dict[int, str]:
    """Members that can neither win nor add, by position, and why; at least 2 of them are none.

    From the worst on: one that is behind the best alone by more than `errors` standard errors of the paired difference
    on the compared rows, and without which the mean of those that are left is not worse by more than one, nor by
    `LEAST_GAIN`.

    Args:
        task: seg, cls or multi. held: all rows are calibrated on, the compared ones scored.
    """
    fits, compared = Fits(held, seed), np.flatnonzero(held.compared)
    counts = resample_counts(held.groups[compared], held.labels[compared], CHOICE, seed)
    measure = partial(weighted.primary, task)
    heads = (held.class_logits is not None) + (held.planes is not None)

    def mean_of(members: Sequence[int]) -> CombinerResult:
        weights = np.bincount(members, minlength=len(held.names)) / len(members)
        scored = fits.predict(fits.whole().combination("mean", [weights] * heads)).take(compared)
        return CombinerResult("mean", weighted.once(measure, scored), draws=measure(scored, counts))

    alone = [mean_of([member]) for member in range(len(held.names))]
    ranked = sorted(range(len(alone)), key=lambda member: alone[member].score or 0.0)
    left, found = list(range(len(alone))), dict[int, str]()
    whole = mean_of(left)
    for member in ranked[:-2]:
        behind = alone[ranked[-1]].difference(alone[member])
        if behind is None or not behind.value > errors * behind.standard_error:
            continue
        without = mean_of([one for one in left if one != member])
        adds = whole.difference(without)
        if adds is None or adds.value > max(adds.standard_error, LEAST_GAIN):
            continue
        left.remove(member)
        whole = without
        found[member] = (
            f"{PRIMARY[task]} {behind.value:.4f} (standard error {behind.standard_error:.4f}) behind the best on "
            f"{len(compared)} images, and {adds.value:+.4f} ({adds.standard_error:.4f}) in the mean"
        )
    return found


def _without_hopeless(
    team: MemberTrainer, racing: Sequence[Candidate], trained: Sequence[int], errors: float, seed: int
) -> list[Candidate]:
    if len(racing) <= 2:
        return list(racing)
    members = [_member(team, one, trained) for one in racing]
    held = held_out(team.task, members, len(members), team.workers, tta=team.tta)
    found = hopeless(team.task.name, held, errors, seed)
    for position, why in found.items():
        say(f"left out  {racing[position].name}: {why}")
    return [one for position, one in enumerate(racing) if position not in found]


def _in_time(
    team: MemberTrainer, racing: Sequence[Candidate], folds: Sequence[int], *, fewer: bool
) -> tuple[list[Candidate], list[int]]:
    """Which of them are trained on which of the folds before the deadline; of a single fold fewer of them, if told."""
    for count in range(len(folds), 0, -1):
        if team.in_time(*_jobs(team, racing, folds[:count])):
            return list(racing), list(folds[:count])
    for count in range(len(racing) - 1, 0, -1) if fewer else ():
        if team.in_time(*_jobs(team, racing[:count], folds[:1])):
            return list(racing[:count]), list(folds[:1])
    return [], []


def _whole(team: MemberTrainer, racing: Sequence[Candidate], folds: Sequence[int]) -> list[int]:
    """The folds up to the first that one of the candidates has no model of."""
    return list(takewhile(lambda fold: all(team.fold_job(one, fold).done for one in racing), folds))


def _jobs(
    team: MemberTrainer, racing: Sequence[Candidate], folds: Sequence[int]
) -> tuple[dict[str, Job], dict[str, Candidate]]:
    """Trainings by key, fold after fold, so that what a deadline cuts is the last fold; and whose they are."""
    owner = {f"{one.trial_id} fold {fold}": (one, fold) for fold in folds for one in racing}
    jobs = {key: team.fold_job(*pair) for key, pair in owner.items()}
    return jobs, {key: one for key, (one, _) in owner.items()}


def _train(team: MemberTrainer, racing: Sequence[Candidate], folds: Sequence[int], tracker: Tracker) -> set[str]:
    """Train them; names of those of which a training failed for good."""
    jobs, owner = _jobs(team, racing, folds)
    failed = {}
    for key, reason in (team.train(jobs, owner, tracker, kind="fold") if jobs else {}).items():
        if reason != NO_TIME:
            failed[owner[key].name] = reason
    for name, reason in failed.items():
        say(f"left out  {name}: a fold model failed ({reason})")
    return set(failed)


def _member(team: MemberTrainer, candidate: Candidate, folds: Sequence[int]) -> Member:
    models = {fold: team.fold_job(candidate, fold).folder for fold in folds if fold}
    return team.member(candidate.name, candidate, {0: candidate.checkpoint, **models})
