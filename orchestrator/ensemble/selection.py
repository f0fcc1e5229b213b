"""Which combiner is chosen: each one cross-fitted, compared on the same resamples, the simplest kept when in doubt."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from orchestrator.ensemble.combiners.fit import CombinerFit
from orchestrator.ensemble.combiners.fits import Fits
from orchestrator.ensemble.combiners.registry import COMBINERS, FITTED, OPTIMISTIC
from orchestrator.ensemble.result import CombinerRow, Difference, Weights
from orchestrator.inference.combination import Combination
from orchestrator.scoring import weighted
from orchestrator.scoring.resampling import CHOICE, resample_counts, standard_error
from orchestrator.scoring.values import ScoredPredictions, fpr_normal, primary


@dataclass(frozen=True)
class CombinerResult:
    """A combiner in the comparison; without a score it could not run, and `note` says why.

    Attributes:
        score: the task's primary metric of the cross-fitted predictions. standard_error: over resamples.
        difference_to_best, difference_to_mean: paired; None where the other could not run.
        fpr_normal: of the cross-fitted predictions; None without masks or normals.
        members: names of those that `combination` needs.
        combination: fitted on all rows.
        scored: the cross-fitted predictions of the compared rows, in their order.
        draws: the score on each resample, float64, the same resamples for all rows.
    """

    name: str
    score: float | None = None
    standard_error: float | None = None
    difference_to_best: Difference | None = None
    difference_to_mean: Difference | None = None
    fpr_normal: float | None = None
    members: tuple[str, ...] = ()
    note: str = ""
    combination: Combination | None = field(default=None, repr=False)
    scored: ScoredPredictions | None = field(default=None, repr=False)
    draws: np.ndarray | None = field(default=None, repr=False)

    def difference(self, other: CombinerResult) -> Difference | None:
        """By how much this one is better than the other; None unless both ran."""
        if self.score is None or other.score is None or self.draws is None or other.draws is None:
            return None
        return Difference(self.score - other.score, standard_error(self.draws - other.draws))

    def reported(self, names: Sequence[str]) -> CombinerRow:
        """What `ensemble.json` says of it; `names` are those of all members."""
        fitted = self.combination
        heads = {head: getattr(fitted, head, None) for head in ("classes", "masks")}
        weights = {head: dict(zip(names, one.weights, strict=True)) for head, one in heads.items() if one}
        features = fitted.stack.weights() if fitted and fitted.stack else None
        own = {name: getattr(self, name) for name in CombinerRow.model_fields if name != "weights"}
        return CombinerRow(**own, weights=Weights(**weights, features=features))


def cross_fit(names: Sequence[str], fits: Fits) -> dict[str, ScoredPredictions | Exception]:
    """Predictions of the compared rows, in their order, by combiners that were fitted without the row's fold.

    Everything that a combiner fits (temperatures, weights, rounds, threshold) is fitted on all rows of the other folds,
    compared or not; networks are not trained again inside.

    Returns:
        By name the predictions, or what kept a combiner from running.

    Raises:
        ValueError: there is no other fold.
    """
    held_out = fits.held_out
    rows = np.flatnonzero(held_out.compared)
    folds = np.unique(held_out.folds[rows])
    if not len(folds) or (held_out.folds == folds[0]).all():
        raise ValueError("a comparison needs held-out predictions of at least two folds")
    parts: dict[str, list[ScoredPredictions]] = {name: [] for name in names}
    failed: dict[str, Exception] = {}
    places = []
    for fold in folds:
        fitting, of_fold = fits.without(fold), fits.rows(fold)
        inside = np.flatnonzero(held_out.compared[of_fold])
        for name in parts.keys() - failed.keys():
            try:
                parts[name].append(fits.predict(fitting.fit(name)[0], fold).take(inside))
            except Exception as error:  # the others are worth having
                failed[name] = error
        places.append(of_fold[inside])
    order = np.argsort(np.concatenate(places))
    return {name: failed.get(name) or ScoredPredictions.join(parts[name]).take(order) for name in names}


def compare(task: str, fits: Fits) -> list[CombinerResult]:
    """A row for each combiner, those that could not run included: one that fails stops no other.

    Args:
        task: seg, cls or multi.
        fits: of predictions, all of whose rows are fitted on, and the `compared` ones are compared on; the seed of the
            fits is that of the resamples, too.

    Raises:
        ValueError: there are not two folds to compare on, or nothing is known of the rows.
    """
    held_out = fits.held_out
    rows = np.flatnonzero(held_out.compared)
    counts = resample_counts(held_out.groups[rows], held_out.labels[rows], CHOICE, fits.seed)
    trained = len(held_out.names) - held_out.candidates
    reasons = {name: combiner.not_for(task, trained) for name, combiner in COMBINERS.items()}
    names = [name for name, reason in reasons.items() if not reason]
    fits.each(partial(_fit_all, names, fits), [None, *np.unique(held_out.folds[rows]).tolist()])
    crossed, fitting = cross_fit(names, fits), fits.whole()
    found = {
        name: CombinerResult(name, note=reason)
        if reason
        else _row(name, task, fitting, held_out.names, crossed[name], counts)
        for name, reason in reasons.items()
    }
    return [_with_differences(row, found["best"], found["mean"]) for row in found.values()]


def _fit_all(names: Sequence[str], fits: Fits, fold: int | None) -> None:
    """So that `fits` has them; one that fails does so again, and is heard, where its row is made."""
    with suppress(Exception):
        fitting = fits.whole() if fold is None else fits.without(fold)
        for name in names:
            with suppress(Exception):
                fitting.fit(name)


def choose(rows: Sequence[CombinerResult], optimistic: bool = False) -> tuple[str, str]:
    """The winner's name, and why it is the winner, in one line.

    The reference is the better of `best` and `mean`, `best` if they are as good. Each of `FITTED` in turn takes the
    reference's place where it is better by more than one standard error of the paired difference; the next one has to
    beat that one.

    Args:
        rows: of `compare`. optimistic: only `OPTIMISTIC` may win.

    Raises:
        ValueError: neither `best` nor `mean` has a score.
    """
    ran = {row.name: row for row in rows if row.score is not None and (not optimistic or row.name in OPTIMISTIC)}
    simple = [ran[name] for name in ("best", "mean") if name in ran]
    if not simple:
        notes = "; ".join(f"{row.name}: {row.note}" for row in rows if row.name in ("best", "mean"))
        raise ValueError(f"no combiner can be chosen, since neither best nor mean could run ({notes})")
    winner = max(simple, key=lambda row: row.score or 0.0)
    why = [f"{winner.name} ({winner.score:.3f}) is the reference"]
    if len(simple) == 2:
        other = simple[0] if winner is simple[1] else simple[1]
        why = [f"{winner.name} ({winner.score:.3f}) is no worse than {other.name} ({other.score:.3f})"]
    for name in FITTED:
        gain = ran[name].difference(winner) if name in ran else None
        if gain and gain.value > gain.standard_error:
            winner = ran[name]
            why.append(
                f"{name} is better by {gain.value:.3f}, more than one standard error ({gain.standard_error:.3f})"
            )
    if len(why) == 1:
        why.append("no fitted combiner is better by more than one standard error of the difference")
    if optimistic:
        why.append(f"optimistic: same fold as selection, so that only {', '.join(OPTIMISTIC)} may win")
    return winner.name, "; ".join(why)


def _row(
    name: str,
    task: str,
    fitting: CombinerFit,
    names: Sequence[str],
    scored: ScoredPredictions | Exception,
    counts: np.ndarray,
) -> CombinerResult:
    try:
        if isinstance(scored, Exception):
            raise scored
        combination, note = fitting.fit(name)
        score, alarms = primary(task, scored), fpr_normal(scored)
    except Exception as error:  # the other rows are worth having, and this one says what happened
        lines = str(error).splitlines() or [""]
        return CombinerResult(name, note=f"failed: {type(error).__name__}: {lines[0]}")
    if not math.isfinite(score):
        return CombinerResult(
            name, note="no score: the compared images lack a lesion or a second class, or a prediction is NaN"
        )
    draws = weighted.primary(task, scored, counts)
    return CombinerResult(
        name,
        score,
        standard_error(draws),
        fpr_normal=None if math.isnan(alarms) else alarms,
        members=tuple(names[member] for member in combination.members),
        note=note,
        combination=combination,
        scored=scored,
        draws=draws,
    )


def _with_differences(row: CombinerResult, best: CombinerResult, mean: CombinerResult) -> CombinerResult:
    return replace(row, difference_to_best=row.difference(best), difference_to_mean=row.difference(mean))
