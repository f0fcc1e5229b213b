"""`boosted-trained`, round by round: train a new member on what the ensemble gets wrong, keep it if it helps."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator.ensemble import boosting
from orchestrator.ensemble.candidates import Candidate
from orchestrator.ensemble.combiners import fit
from orchestrator.ensemble.held_out import OutOfFoldPredictions
from orchestrator.ensemble.member_predictions import Member, held_out
from orchestrator.ensemble.members import MemberTrainer
from orchestrator.tracking.tracker import Tracker
from search_spaces import Config
from trainables.held_out import Job


@dataclass(frozen=True)
class Boosting:
    """How new members are trained.

    Attributes:
        rounds: at most so many. epochs: of each; None for half of its start's, within the time of the median trial.
        seed: of sampling and of heads. uniform: draw all images alike, the control of an experiment.
        folder: where their checkpoints go, each under a name that follows from what is trained.
        median_seconds: of the search's trials.
    """

    rounds: int
    epochs: int | None
    seed: int
    folder: Path
    median_seconds: float
    uniform: bool = False


def boost(
    team: MemberTrainer,
    members: Sequence[Member],
    candidates: Sequence[Candidate],
    held: OutOfFoldPredictions,
    plan: Boosting,
    tracker: Tracker,
) -> tuple[list[Member], OutOfFoldPredictions, list[dict[str, Any]]]:
    """Members and held-out predictions with those new members that lower the loss, and what each round did.

    A round takes the errors of the ensemble so far on out-of-fold predictions, draws images the oftener the more wrong
    they are (after AdaBoost, Freund and Schapire, JCSS 55, 1997, 119-139; here with soft, bounded weights), and trains
    for each fold, from the fold's own checkpoint of a candidate, a member that never saw it. It is taken in where the
    paired, cross-fitted loss falls by more than one standard error; the first that is not ends boosting.

    Fold f's new model is weighted by errors that models trained on f made on the other folds: a leakage of second
    order, which the comparison on held-out rows does not see.

    Args:
        members: one for each candidate, in the same order.
        held: their out-of-fold predictions.
    """
    everyone, done = list(members), list[dict[str, Any]]()
    for number in range(1, plan.rounds + 1):
        ensemble, _ = fit.fit("boosted-trained", held, plan.seed)
        found = boosting.emphasis(boosting.errors(fit.predict(ensemble, held)), held.labels)
        report: dict[str, Any] = {"round": number, "effective": found.effective, "images": len(held)}
        report["suspects"] = [held.digests[row] for row in found.suspects]
        done.append(report | {"accepted": False})
        if found.even and not plan.uniform:
            done[-1]["note"] = "the ensemble is about as wrong on all images: nothing to boost"
            break
        start = boosting.start_of(candidates, number)
        folds = len(members[0].checkpoints)
        epochs, note = plan.epochs or 0, ""
        if not epochs:
            epochs, note = boosting.boost_epochs(start, folds, team.workers.slots, plan.median_seconds)
        new, reason = _train(team, members[candidates.index(start)], start, held, found, plan, number, epochs, tracker)
        done[-1] |= {"start": start.name, "epochs": epochs, "note": note}
        if new is None:
            done[-1]["note"] = f"a fold failed: {reason}"
            break
        more = held_out(team.task, [*everyone, new], held.candidates, team.workers, mirrored=team.mirrored)
        gain = boosting.gain(team.task.name, more, plan.seed)
        done[-1] |= {"loss_falls_by": gain.fall, "standard_error": gain.error, "accepted": gain.fall > gain.error}
        done[-1] |= {"score_before": gain.score_before, "score_with": gain.score_with}
        if not done[-1]["accepted"]:
            break
        everyone, held = [*everyone, new], more
    return everyone, held, done


def _train(
    team: MemberTrainer,
    member: Member,
    start: Candidate,
    held: OutOfFoldPredictions,
    found: boosting.Emphasis,
    plan: Boosting,
    number: int,
    epochs: int,
    tracker: Tracker,
) -> tuple[Member | None, str]:
    """The new member of a round, or None and why."""
    data = member.data
    weights = np.ones(len(data.images))
    if not plan.uniform:
        weight = dict(zip(held.digests, found.weights.tolist(), strict=True))
        weights = np.array([weight.get(digest, 1.0) for digest in data.image_digests])
    config = boosting.boost_config(start, epochs, 1000 * plan.seed + number)
    name = _name(start, config, weights)
    jobs = {
        f"boost {name} fold {fold}": Job(
            plan.folder / name / f"fold-{fold}", team.task.name, config, fold, checkpoint, weights
        )
        for fold, checkpoint in member.checkpoints.items()
    }
    failed = team.train(jobs, dict.fromkeys(jobs, start), tracker, kind="boost")
    if failed:
        return None, next(iter(failed.values()))
    checkpoints = {job.fold: job.folder for job in jobs.values()}
    return team.member(f"boost {number} from {start.name}", start, checkpoints), ""


def _name(start: Candidate, config: Config, weights: np.ndarray) -> str:
    """The same for the same training: a kill may come between, after which fewer slots or candidates are there."""
    parts = json.dumps([start.trial_id, config], sort_keys=True).encode() + weights.round(4).tobytes()
    return hashlib.sha256(parts).hexdigest()[:16]
