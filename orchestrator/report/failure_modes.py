"""Known failure modes: what the test figures say that a model gets wrong."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from orchestrator.rendering.document import Observation
from orchestrator.rendering.numbers import counted
from orchestrator.report.results.errors import BLANK, column_values, columns, compared, subgroup, value_names
from orchestrator.report.results.means import OF, WORDS, Mean, Resampled, by_image
from orchestrator.report.results.subject import ModelResults
from orchestrator.scoring.metrics import lesions
from orchestrator.scoring.resampling import FEWEST_GROUPS
from orchestrator.scoring.uncertainty import LEAST_DICE


def failure_modes(subject: ModelResults) -> list[Observation]:
    """Malignant images called something else, lesions missed, false alarms, and sub-groups: those that happened."""
    resampled, found = Resampled.of(subject.tested), by_image(subject.tested)
    return [*_classes(subject, resampled), *_masks(subject, resampled, found), *_subgroups(subject, resampled, found)]


def _classes(subject: ModelResults, resampled: Resampled) -> Iterator[Observation]:
    scored = subject.tested.evidence.scored
    if scored.probabilities is None or not subject.classes:
        return
    malignant = scored.targets == len(subject.classes) - 1
    likeliest = scored.probabilities.argmax(1)
    wrong = (likeliest != scored.targets).astype(np.float64)
    if not malignant.any():
        yield Observation(f"{subject.title}: how many malignant images it misses is not known.", "None is in the test.")
        return
    missed = resampled.mean(wrong, malignant)
    if not missed.value:
        return
    called = [f"{int((likeliest[malignant] == index).sum())} {name}" for index, name in enumerate(subject.classes[:-1])]
    yield Observation(
        f"{subject.title}: of {counted(missed.n, 'malignant image')}, {int(wrong[malignant].sum())} are called "
        "something else.",
        f"By the likeliest class: {' and '.join(called)}. Share missed {_words(missed)}.",
    )


def _masks(subject: ModelResults, resampled: Resampled, found: dict[str, np.ndarray]) -> Iterator[Observation]:
    counts = subject.tested.evidence.scored.counts
    if counts is None:
        return
    there = lesions(subject.tested.evidence.scored)
    if there.any():
        poor = resampled.mean((found["dice"] < LEAST_DICE).astype(np.float64), there)
        missed = int((counts[there, 0] == 0).sum())
        if poor.value:
            yield Observation(
                f"{subject.title}: of {counted(poor.n, 'lesion image')}, {round(poor.value * poor.n)} are outlined "
                f"with a Dice below {LEAST_DICE:g}.",
                f"Share {_words(poor)}; in {missed} of them no pixel of the lesion is found.",
            )
    alarms = resampled.mean(found["alarm"], np.ones(len(there), bool))
    if alarms.n and alarms.value:
        yield Observation(
            f"{subject.title}: of {counted(alarms.n, 'normal image')}, {round(alarms.value * alarms.n)} are given a "
            "lesion.",
            f"Share with a false alarm {_words(alarms)}.",
        )


def _subgroups(subject: ModelResults, resampled: Resampled, found: dict[str, np.ndarray]) -> Iterator[Observation]:
    """Sub-groups that are worse than all others together, where the interval of the difference excludes 0."""
    for column in columns([subject]):
        named = value_names(column_values([subject], column))
        parts = subgroup(subject, column, named)
        worse, looked = list[str](), 0
        for name in compared(named):
            inside, rest = parts == name, (parts != name) & (parts != "") & (parts != BLANK)
            for measure, words in WORDS.items():
                gap = resampled.difference(found[measure], inside, rest)
                looked += gap.known
                if gap.apart and (gap.value > 0) == (measure == "alarm"):
                    n = f"n = {resampled.mean(found[measure], inside).n} {OF[measure]}"
                    worse.append(f"{name}: {words} {gap.words(sign=True)} against the others, {n}")
        if worse:
            evidence = f"{'; '.join(worse)}. 95 % intervals, of single comparisons."
            yield Observation(f"{subject.title}: some images are worse than others by {column}.", evidence)
        elif looked:
            evidence = (
                f"{counted(looked, 'comparison')} of one value with all others; none is worse beyond its interval."
            )
            yield Observation(f"{subject.title}: no value of {column} is told apart as worse.", evidence)
        else:
            evidence = f"In each comparison a side has fewer than {FEWEST_GROUPS} groups, or both sides came out alike."
            yield Observation(f"{subject.title}: too few images to tell values of {column} apart.", evidence)


def _words(mean: Mean) -> str:
    return f"{mean.words()}{', 95 % over groups' if mean.known else ' (no interval)'}, n = {mean.n}"
