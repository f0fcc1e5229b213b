"""Strengths and limits as sentences: each is computed from the figures, and none says more than its interval."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np

from orchestrator.rendering.document import Observation
from orchestrator.rendering.numbers import counted, number, spanned
from orchestrator.report.results.contrasts import contrasts
from orchestrator.report.results.paired import Paired
from orchestrator.report.results.subject import ModelResults
from orchestrator.report.results.verdicts import verdicts
from orchestrator.scoring.metrics import METRICS, lesions
from orchestrator.scoring.resampling import FEWEST_GROUPS, INTERVAL
from trainables.data import CLASSES

#: Said below the observations.
METHOD = (
    f"Intervals of 95 % are percentiles over {INTERVAL:,} bootstrap samples of whole groups (near-duplicates and "
    "patients) within classes, given where each kind of image that a figure rests on has at least "
    f"{FEWEST_GROUPS}; those of operating points are Wilson's. They are of single comparisons, and not corrected for "
    "their number."
)


def strengths_and_limits(subjects: Sequence[ModelResults], pairs: Sequence[Paired]) -> list[Observation]:
    """What the figures say, and what they cannot; what is not known of a model is not spoken of."""
    found = [*_between(pairs)]
    for subject in subjects:
        found += verdicts(subject)
    found += contrasts(subjects)
    for subject in subjects:
        found += _few(subject)
    return [*found, *_costs(subjects), *_looks(subjects), *_warnings(subjects)]


def _between(pairs: Sequence[Paired]) -> list[Observation]:
    """Of every two models what the one is better at, what the other, and what they are not told apart by."""
    found = []
    for (a, b), some in groupby(pairs, lambda pair: (pair.a, pair.b)):
        both = list(some)
        for better, worse in ((a, b), (b, a)):
            if won := [pair for pair in both if pair.better == better]:
                names = ", ".join(METRICS[pair.metric].short for pair in won)
                found.append(Observation(f"{better} is better than {worse}: {names}.", _evidence(won)))
        if level := [pair for pair in both if pair.better is None and (pair.alike or np.isfinite(pair.low))]:
            names = ", ".join(METRICS[pair.metric].short for pair in level)
            found.append(Observation(f"{a} and {b} are not told apart: {names}.", _evidence(level)))
        if few := [pair for pair in both if not (pair.alike or np.isfinite(pair.low))]:
            names = ", ".join(METRICS[pair.metric].short for pair in few)
            ns = ", ".join(f"{pair.images:,}" for pair in few)
            claim = f"There are too few images to compare {a} and {b}: {names}."
            found.append(Observation(claim, f"A kind of image has fewer than {FEWEST_GROUPS} groups; n = {ns} images."))
    return found


def _evidence(pairs: Sequence[Paired]) -> str:
    parts = [
        f"{METRICS[one.metric].short} {number(one.values[0], 3)} and {number(one.values[1], 3)}, difference "
        f"{number(one.difference, 3, sign=True)} ({_bounds(one)}; n = {one.images:,}"
        f"{', lower is better' if METRICS[one.metric].better == 'lower' else ''})"
        for one in pairs
    ]
    return f"{pairs[0].a} minus {pairs[0].b}, paired: {'; '.join(parts)}."


def _bounds(one: Paired) -> str:
    return "the same in all resamples" if one.alike else f"95 % {spanned(one.low, one.high, 3, sign=True)}"


def _few(subject: ModelResults) -> list[Observation]:
    """Kinds of images of which there are too few groups for an interval."""
    evidence = subject.tested.evidence
    kinds = {name: evidence.labels == label for label, name in enumerate(CLASSES)}
    if evidence.scored.counts is not None:
        kinds["lesion"] = lesions(evidence.scored)
    short = {name: inside for name, inside in kinds.items() if len(np.unique(evidence.groups[inside])) < FEWEST_GROUPS}
    if subject.classes:
        short = {name: inside for name, inside in short.items() if name in (*subject.classes, "lesion")}
    if not short:
        return []
    counts = "; ".join(
        f"{name}: {counted(int(inside.sum()), 'image')} in {counted(len(np.unique(evidence.groups[inside])), 'group')}"
        for name, inside in short.items()
    )
    claim = f"{subject.title}: of some kinds there are fewer than {FEWEST_GROUPS} groups; little can be said of them."
    return [Observation(claim, f"{counts}; of {len(subject.tested):,} images.")]


def _costs(subjects: Sequence[ModelResults]) -> list[Observation]:
    parts, runs = [], []
    for one in subjects:
        if one.members is not None:
            ran = f", {counted(one.networks, 'network')}" if one.networks else ""
            ran += ", each run twice (the image and its mirror image)" if one.tta else ""
            parts.append(f"{one.title}: {counted(one.members, 'member')}{ran}")
            runs.append((one.networks or one.members) * (2 if one.tta else 1))
    if not parts:
        return []
    evidence = f"{'; '.join(parts)}. This is counted, so it has no interval."
    return [Observation(f"An image costs up to {counted(max(runs), 'run')} of a network.", evidence)]


def _looks(subjects: Sequence[ModelResults]) -> list[Observation]:
    times = max((subject.times_scored or 0 for subject in subjects), default=0)
    if times < 2:
        return []
    evidence = (
        f"{times} winners were scored on the test images of these data, over all searches in the store. Whoever "
        "chooses by such figures makes them look better than they are on new images."
    )
    return [Observation("The test images were looked at more than once.", evidence)]


def _warnings(subjects: Sequence[ModelResults]) -> list[Observation]:
    found = []
    if optimistic := [subject.title for subject in subjects if subject.optimistic]:
        claim = f"Held-out figures are optimistic: {', '.join(optimistic)}."
        found.append(Observation(claim, "They are of the fold on which epoch and configuration were chosen."))
    if synthetic := [subject.title for subject in subjects if subject.synthetic]:
        claim = f"The images, or those that the model was trained on, are synthetic: {', '.join(synthetic)}."
        found.append(Observation(claim, "Phantom images of this program; such figures say nothing about patients."))
    return found
