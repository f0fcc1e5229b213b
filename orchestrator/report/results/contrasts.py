"""Sub-groups of images that a model does better or worse on, said where the difference has no 0 in its interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from orchestrator.rendering.document import Observation
from orchestrator.rendering.numbers import number, spanned
from orchestrator.report.results import errors
from orchestrator.report.results.means import OF, WORDS, Mean, Resampled, by_image
from orchestrator.report.results.subject import ModelResults


class Contrast(NamedTuple):
    """A model on a part of the images against another part: a measure of `by_image`, both means, their difference."""

    title: str
    part: str
    rest: str
    measure: str
    means: tuple[Mean, Mean]
    difference: Mean


def contrasts(subjects: Sequence[ModelResults]) -> list[Observation]:
    """Small against large lesions and each sub-group against the rest: what differs, and of how many comparisons."""
    found = [_sentence(one) for one in _by_size(subjects) if one.difference.apart]
    known = [one for one in _by_subgroup(subjects) if one.difference.known]
    apart = [one for one in known if one.difference.apart]
    found += [_sentence(one, f" One of {len(known)} comparisons.") for one in apart]
    if known:
        columns = ", ".join(errors.columns(subjects))
        claim = f"Sub-groups: {len(apart)} of {len(known)} comparisons with the rest of the images exclude zero."
        by_chance = f"By chance alone about {number(0.05 * len(known), 1)} would."
        found.append(Observation(claim, f"Sub-groups by {columns}; n stands in the tables. {by_chance}"))
    return found


def _by_size(subjects: Sequence[ModelResults]) -> list[Contrast]:
    shares = errors.lesion_shares(subjects)
    if len(shares) < len(errors.THIRDS):
        return []
    edges = errors.size_edges(shares)
    found = []
    for subject in subjects:
        thirds = errors.size_thirds(subject, shares, edges)
        names = "the smallest third of the lesions", "the largest third"
        found += _compare(subject, Resampled.of(subject.tested), thirds == 0, thirds == 2, names)
    return found


def _by_subgroup(subjects: Sequence[ModelResults]) -> list[Contrast]:
    found = []
    named = {column: errors.value_names(errors.column_values(subjects, column)) for column in errors.columns(subjects)}
    for subject in subjects:
        drawn = Resampled.of(subject.tested)
        for column, names in named.items():
            where = errors.subgroup(subject, column, names)
            kinds = errors.compared(names)
            # Of two kinds that are all there is, the second against the rest would say the same again.
            for kind in kinds[:1] if len(kinds) == 2 and errors.OTHERS not in names.values() else kinds:
                rest = (where != kind) & (where != "") & (where != errors.BLANK)
                found += _compare(subject, drawn, where == kind, rest, (f"{column} {kind}", "the rest"))
    return found


def _compare(
    subject: ModelResults, drawn: Resampled, a: np.ndarray, b: np.ndarray, names: tuple[str, str]
) -> list[Contrast]:
    found = []
    for measure, values in by_image(subject.tested).items():
        means = drawn.mean(values, a), drawn.mean(values, b)
        found.append(Contrast(subject.title, *names, measure, means, drawn.difference(values, a, b)))
    return found


def _sentence(one: Contrast, more: str = "") -> Observation:
    (a, b), difference = one.means, one.difference
    which = ("less", "more") if one.measure == "alarm" else ("lower", "higher")
    words = f"{WORDS[one.measure]} {'are' if one.measure == 'alarm' else 'is'} {which[difference.value > 0]}"
    bounds = spanned(difference.low, difference.high, 3, sign=True)
    evidence = (
        f"{a.words()} of {a.n:,} against {b.words()} of {b.n:,} {OF[one.measure]}, difference "
        f"{number(difference.value, 3, sign=True)} (95 % {bounds}).{more}"
    )
    frequent = " frequent" if one.measure == "alarm" else ""
    return Observation(f"{one.title}: {words}{frequent} for {one.part} than for {one.rest}.", evidence)
