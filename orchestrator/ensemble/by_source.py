"""The winner on each source's held-out images: a figure on one source says nothing of another."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from orchestrator.ensemble.combiners.fits import Fits
from orchestrator.ensemble.judging import trivial_held_out
from orchestrator.ensemble.result import SourceRow
from orchestrator.ensemble.selection import cross_fit
from orchestrator.scoring import weighted
from orchestrator.scoring.operating_points import operating_thresholds
from orchestrator.scoring.resampling import FEWEST_GROUPS, INTERVAL, finite, interval, resample_counts
from orchestrator.scoring.trivial import best_of
from orchestrator.scoring.values import fpr_normal, primary
from orchestrator.scoring.verdict import judge


def source_rows(
    task: str, winner: str, fits: Fits, sources: Mapping[str, str], *, by_fold: bool
) -> tuple[SourceRow, ...]:
    """A row for each source, cross-fitted as in `selection.cross_fit`; none where there are not several.

    Where each source is a fold, networks, temperatures, weights and threshold of its row come from the other sources
    alone; but the source of fold 0 chose epochs and configurations, which its row says.

    Args:
        sources: of each image digest. by_fold: whether each source is a fold.
    """
    held_out, seed = fits.held_out, fits.seed
    names = np.array([sources[digest] for digest in held_out.digests])
    if held_out.optimistic or len(set(names.tolist())) < 2:
        return ()
    everything = replace(held_out, compared=np.ones(len(held_out), bool))
    scored = cross_fit([winner], Fits(everything, seed, earlier=fits))[winner]
    if isinstance(scored, Exception):
        return ()
    trivial = trivial_held_out(held_out, np.arange(len(held_out)))
    points = operating_thresholds(scored)
    found = []
    for name in dict.fromkeys(names[np.argsort(held_out.folds, kind="stable")].tolist()):
        rows = np.flatnonzero(names == name)
        groups, own = held_out.groups[rows], scored.take(rows)
        value, alarms = primary(task, own), fpr_normal(own)
        bounds = None
        if len(np.unique(groups)) >= FEWEST_GROUPS:
            counts = resample_counts(groups, held_out.labels[rows], INTERVAL, seed)
            bounds = finite(interval(weighted.primary(task, own, counts)))
        own_trivial = best_of({kind: dice[rows] for kind, dice in trivial.items()}) if trivial else None
        found.append(
            SourceRow(
                word=judge(own, groups, held_out.labels[rows], own_trivial, points, seed).word,
                name=name,
                images=len(rows),
                groups=len(np.unique(groups)),
                value=None if math.isnan(value) else value,
                interval=bounds,
                fpr_normal=None if math.isnan(alarms) else alarms,
                unseen=by_fold,
                chose=by_fold and bool((held_out.folds[rows] == 0).any()),
            )
        )
    return tuple(found)
