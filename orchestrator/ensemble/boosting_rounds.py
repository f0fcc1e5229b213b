"""`boosted-trained`, round by round: train a new member on what the ensemble gets wrong, keep it if it helps."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from orchestrator.ensemble import boosting
from orchestrator.ensemble.candidates import Candidate
from orchestrator.ensemble.combiners.fits import Fits
from orchestrator.ensemble.held_out import OutOfFoldPredictions
from orchestrator.ensemble.member import Member
from orchestrator.ensemble.member_predictions import held_out
from orchestrator.ensemble.result import BoostRound
from orchestrator.tracking.tracker import Tracker
from search_spaces import Config
from trainables.data import Prepared
from trainables.held_out import Job

if TYPE_CHECKING:
    from orchestrator.ensemble.members import MemberTrainer


@dataclass(frozen=True)
class Boosting:
    """How new members are trained.

    Attributes:
        rounds: at most so many. epochs: of each; None for half of its start's, within that of the median candidate.
        seed: of sampling and of heads. uniform: draw all images alike, the control of an experiment.
        folder: where their checkpoints go, each under a name that follows from what is trained.
        median_seconds: of the candidates' trainings.
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
    fits: Fits,
    plan: Boosting,
    tracker: Tracker,
) -> tuple[list[Member], Fits, list[BoostRound]]:
    """Members and fits of held-out predictions with those new members that lower the loss, and what each round did.

    A round takes the errors of the ensemble so far on out-of-fold predictions, draws images the oftener the more wrong
    they are (after AdaBoost, Freund and Schapire, JCSS 55, 1997, 119-139; here with soft, bounded weights), and trains
    for each fold, from the fold's own checkpoint of a candidate, a member that never saw it. It is taken in where the
    paired, cross-fitted loss falls by more than one standard error; the first that is not ends boosting.

    Fold f's new model is weighted by errors that models trained on f made on the other folds: a leakage of second
    order, which the comparison on held-out rows does not see.

    Args:
        members: one for each candidate, in the same order.
        fits: of their out-of-fold predictions.
    """
    everyone, done = list(members), list[BoostRound]()
    for number in range(1, plan.rounds + 1):
        held = fits.held_out
        ensemble, _ = fits.whole().fit("boosted-trained")
        found = boosting.emphasis(boosting.errors(fits.predict(ensemble)), held.labels)
        suspects = tuple(held.digests[row] for row in found.suspects)
        report = BoostRound(round=number, effective=found.effective, images=len(held), suspects=suspects)
        if found.even and not plan.uniform:
            note = "the ensemble is about as wrong on all images: nothing to boost"
            done.append(report.model_copy(update={"note": note}))
            break
        start = boosting.start_of(candidates, number)
        member = members[candidates.index(start)]
        epochs, note = plan.epochs or 0, ""
        if not epochs:
            epochs, note = boosting.boost_epochs(
                start, len(member.checkpoints), team.workers.slots, plan.median_seconds
            )
        report = report.model_copy(update={"start": start.name, "epochs": epochs, "note": note})
        config = boosting.boost_config(start, epochs, 1000 * plan.seed + number)
        weights = _weights(member.data, held, found, uniform=plan.uniform)
        trained = _train(team, member, start, config, weights, plan.folder, tracker)
        if isinstance(trained, str):
            done.append(report.model_copy(update={"note": f"not trained: {trained}"}))
            break
        new = team.member(f"boost {number} from {start.name}", start, trained)
        more = held_out(team.task, [*everyone, new], held.candidates, team.workers, tta=team.tta)
        added = Fits(more, fits.seed, earlier=fits)
        gain = boosting.gain(team.task.name, fits, added)
        came_to = {
            "accepted": gain.fall > gain.error,
            "loss_falls_by": gain.fall,
            "standard_error": gain.error,
            "score_before": gain.score_before,
            "score_with": gain.score_with,
        }
        done.append(report.model_copy(update=came_to))
        if not done[-1].accepted:
            break
        everyone, fits = [*everyone, new], added
    return everyone, fits, done


def _weights(data: Prepared, held: OutOfFoldPredictions, found: boosting.Emphasis, *, uniform: bool) -> np.ndarray:
    """How often each image of the data is drawn, float64 [N]; 1 for those that were not held out."""
    if uniform:
        return np.ones(len(data.images))
    weight = dict(zip(held.digests, found.weights.tolist(), strict=True))
    return np.array([weight.get(digest, 1.0) for digest in data.image_digests])


def _train(
    team: MemberTrainer,
    member: Member,
    start: Candidate,
    config: Config,
    weights: np.ndarray,
    folder: Path,
    tracker: Tracker,
) -> dict[int, Path] | str:
    """Checkpoints of a new member by fold, each from the fold's own of a member; or why there is none."""
    name = _name(start, config, weights)
    jobs = {
        f"boost {name} fold {fold}": Job(
            folder / name / f"fold-{fold}", team.task.name, config, fold, checkpoint, weights
        )
        for fold, checkpoint in member.checkpoints.items()
    }
    failed = team.train(jobs, dict.fromkeys(jobs, start), tracker, kind="boost")
    return next(iter(failed.values())) if failed else {job.fold: job.folder for job in jobs.values()}


def _name(start: Candidate, config: Config, weights: np.ndarray) -> str:
    """The same for the same training: a kill may come between, after which fewer slots or candidates are there."""
    parts = json.dumps([start.trial_id, config], sort_keys=True).encode() + weights.round(4).tobytes()
    return hashlib.sha256(parts).hexdigest()[:16]
