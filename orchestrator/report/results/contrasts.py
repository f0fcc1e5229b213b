"""Images that a model does worse on than on others, said where the difference has no 0 in its interval."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from orchestrator.rendering.document import Statement
from orchestrator.rendering.numbers import counted, number
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


def contrasts(subjects: Sequence[ModelResults]) -> list[Statement]:
    """Small against large lesions and each sub-group against the rest: which are worse, and of how many comparisons."""
    found = [_worse(one) for one in _by_size(subjects) if one.difference.apart]
    made = list(_by_subgroup(subjects))
    known = [one for one in made if one.difference.known]
    chance = f"One of {counted(len(known), 'comparison')} of sub-groups; by chance alone about "
    chance += f"{number(0.05 * len(known), 1)} would exclude zero."
    found += [_worse(one, chance) for one in known if one.difference.apart]
    if made and not any(one.difference.apart for one in known):
        columns = ", ".join(errors.columns(subjects))
        claim = f"Sub-groups by {columns}: there are too few images, or too like ones, to compare any."
        if known:
            claim = f"Sub-groups by {columns}: in {counted(len(known), 'comparison')} none is told apart from the rest."
        found.append(Statement(claim, "unknown", 0))
    return found


def _by_size(subjects: Sequence[ModelResults]) -> Iterator[Contrast]:
    shares = errors.lesion_shares(subjects)
    if len(shares) < len(errors.THIRDS):
        return
    edges = errors.size_edges(shares)
    for subject in subjects:
        thirds = errors.size_thirds(subject, shares, edges)
        names = "the smallest third of the lesions", "the largest third"
        yield from _compare(subject, Resampled.of(subject.tested), thirds == 0, thirds == 2, names)


def _by_subgroup(subjects: Sequence[ModelResults]) -> Iterator[Contrast]:
    named = {column: errors.value_names(errors.column_values(subjects, column)) for column in errors.columns(subjects)}
    for subject in subjects:
        drawn = Resampled.of(subject.tested)
        for column, names in named.items():
            where = errors.subgroup(subject, column, names)
            kinds = errors.compared(names)
            # Of two kinds that are all there is, the second against the rest would say the same again.
            for kind in kinds[:1] if len(kinds) == 2 and errors.OTHERS not in names.values() else kinds:
                rest = (where != kind) & (where != "") & (where != errors.BLANK)
                yield from _compare(subject, drawn, where == kind, rest, (f"{column} {kind}", "the rest"))


def _compare(
    subject: ModelResults, drawn: Resampled, a: np.ndarray, b: np.ndarray, names: tuple[str, str]
) -> Iterator[Contrast]:
    for measure, values in by_image(subject.tested).items():
        means = drawn.mean(values, a), drawn.mean(values, b)
        if all(mean.n for mean in means):
            yield Contrast(subject.title, *names, measure, means, drawn.difference(values, a, b))


def _worse(one: Contrast, more: str = "") -> Statement:
    """The worse part is named first, whichever of the two it is."""
    alarm = one.measure == "alarm"
    (part, mine), (rest, others) = (one.part, one.means[0]), (one.rest, one.means[1])
    if (one.difference.value > 0) != alarm:
        (part, mine), (rest, others) = (rest, others), (part, mine)
    words = f"{WORDS[one.measure]} {'are more frequent' if alarm else 'is lower'}"
    figures = [mean.figure(of, OF[one.measure]) for mean, of in ((mine, part), (others, rest))]
    figures.append(one.difference.figure(f"{one.part} minus {one.rest}", OF[one.measure], sign=True))
    return Statement(
        f"{one.title}: {words} for {part} than for {rest}.", "against", abs(one.difference.value), figures, more
    )
