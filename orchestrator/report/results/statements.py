"""Strengths and limits as one list of sentences: each is computed from figures, and none says more than they do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from orchestrator.rendering.document import Block, Figure, Heading, Side, Statement, Statements, Text
from orchestrator.rendering.numbers import counted, number
from orchestrator.report.results.contrasts import contrasts
from orchestrator.report.results.means import Resampled, by_image, error_area
from orchestrator.report.results.subject import ModelResults
from orchestrator.scoring.checks import ALARMS, OF_MASKS, Check
from orchestrator.scoring.final_scores import FinalScores
from orchestrator.scoring.metrics import METRICS, lesions
from orchestrator.scoring.resampling import FEWEST_GROUPS, INTERVAL
from orchestrator.scoring.uncertainty import LEAST_DICE
from trainables.data import CLASSES

#: Said below the sentences.
METHOD = (
    f"The heaviest first. Intervals of 95 % are percentiles over {INTERVAL:,} bootstrap samples of whole groups "
    "(near-duplicates and patients) within classes, given where each kind of image that a figure rests on has at least "
    f"{FEWEST_GROUPS}; those of operating points are Wilson's. They are of single comparisons, and not corrected for "
    "their number."
)
HEADINGS = {"against": "Against it", "for": "For it", "unknown": "For neither side, or not known"}


def statements(subjects: Sequence[ModelResults]) -> list[Statement]:
    """What the figures say of each model, the heaviest first."""
    found = [one for subject in subjects for one in _of(subject)]
    found = sorted([*found, *contrasts(subjects), *_few(subjects)], key=lambda one: -one.weight)
    if len(subjects) > 1:
        return found
    bare = [one.claim.removeprefix(f"{subjects[0].title}: ") for one in found]
    return [replace(one, claim=f"{words[0].upper()}{words[1:]}") for one, words in zip(found, bare, strict=True)]


def listed(said: Sequence[Statement]) -> list[Block]:
    """Three lists, by whom the sentences speak for."""
    blocks: list[Block] = []
    for side, heading in HEADINGS.items():
        if some := [one for one in said if one.side == side]:
            blocks += [Heading(heading), Statements(some)]
    return [*blocks, Text(METHOD, quiet=True)] if blocks else []


def _of(subject: ModelResults) -> list[Statement]:
    """All of one model; what passes in a part that fails the floor is no strength, as a hopeless model has it, too."""
    below = _below(subject)
    said = [*_checks(subject), *_masks(subject), *_classes(subject), *_to_single(subject)]
    area = subject.figures.scores.get("auroc")
    if "classes" not in below or (not subject.judged and area and area.interval and area.interval[0] > 0.5):
        said += _confidence(subject)  # of classes that are not told at all it is no question
    said += _uncertainty(subject)
    found = []
    for one in said:
        one = replace(one, claim=f"{subject.title}: {one.claim}")
        if one.side == "for" and (why := below.get(one.part) or (not one.part and next(iter(below.values()), ""))):
            one = replace(one, side="unknown", more=" ".join(filter(None, (one.more, f"No strength: {why}."))))
        found.append(one)
    return found


def _below(subject: ModelResults) -> dict[str, str]:
    """Why nothing speaks for a part of the model: what fails of the floor, or cannot be told."""
    if not subject.judged:
        return dict.fromkeys(("masks", "classes"), "no verdict was written")
    found: dict[str, str] = {}
    for place, judgement in enumerate(subject.judged.values()):
        for check in judgement.checks:
            # The test lowers what held-out images say; where it is too small it says nothing.
            if check.floor and (check.side == "against" or (not place and check.side == "unknown")):
                found.setdefault(_part(check), check.claim)
    return found


def _part(check: Check) -> str:
    return "masks" if check.name in OF_MASKS else "classes"


def _checks(subject: ModelResults) -> Iterator[Statement]:
    """What the verdict rests on, a sentence a figure, with what it is on held-out and on test images."""
    by_name: dict[str, list[tuple[str, Check]]] = {}
    for images, judgement in subject.judged.items():
        for check in judgement.checks:
            by_name.setdefault(check.name or check.claim, []).append((images, check))
    for name, some in by_name.items():
        if name == ALARMS:
            continue  # beside the lesions that are missed
        against = [one for one in some if one[1].side == "against"]
        where, told = max(against, key=lambda one: one[1].floor, default=some[0])
        floor = told.floor and told.side == "against"
        size = 1 - told.value if told.side == "against" else told.value
        yield Statement(
            f"{told.claim}{f' ({where})' if len(subject.judged) > 1 else ''}.",
            told.side,
            min(abs(size), 1) + floor,
            _figures(name, some),
            f"Of fewer than {FEWEST_GROUPS} groups." if told.side == "unknown" else "",
            part="masks" if name in OF_MASKS else "classes",
            floor=told.floor,
        )


def _figures(name: str, some: Sequence[tuple[str, Check]]) -> list[Figure]:
    """One of each kind of images, of which the first has the name."""
    kinds = dict(reversed(some))
    return [
        Figure(where if place else f"{name}, {where}", check.value, check.interval, check.n)
        for place, (where, check) in enumerate(reversed(kinds.items()))
    ]


def _masks(subject: ModelResults) -> Iterator[Statement]:
    """Lesions that are outlined poorly, always beside the false alarms: an empty mask has none of these."""
    scored = subject.tested.evidence.scored
    if scored.counts is None:
        return
    found, everything = by_image(subject.tested), np.ones(len(subject.tested), bool)
    drawn = Resampled.of(subject.tested)
    poor = drawn.mean(np.where(np.isfinite(found["dice"]), found["dice"] < LEAST_DICE, np.nan), everything)
    alarms = drawn.mean(found["alarm"], everything)
    claims, figures = [], []
    if poor.n:
        missed = int((scored.counts[lesions(scored), 0] == 0).sum())
        untouched = f", {missed:,} of them not touched at all" if poor.value else ""
        claims.append(
            f"{round(poor.value * poor.n):,} of {poor.n:,} lesions are outlined with a Dice below {LEAST_DICE:g}"
            f"{untouched}"
        )
        figures.append(poor.figure(f"share of lesions with a Dice below {LEAST_DICE:g}"))
    if alarms.n:
        claims.append(f"something is seen in {round(alarms.value * alarms.n):,} of {alarms.n:,} normal images")
        figures.append(alarms.figure(ALARMS))
        held = [(where, check) for where, one in subject.judged.items() for check in one.checks if check.name == ALARMS]
        figures += _figures(ALARMS, held[:1]) if len(subject.judged) > 1 else []
    if not claims:
        return
    worst = max(one.value for one in (poor, alarms) if one.n)
    side: Side = "against" if worst else "for" if poor.n else "unknown"
    more = "" if poor.n and alarms.n else f"Of {'normals' if poor.n else 'lesions'} no mask is known."
    yield Statement(f"{'; '.join(claims)}.", side, worst or 1.0, figures, more, part="masks")


def _classes(subject: ModelResults) -> Iterator[Statement]:
    """Images of a class that are called something else: malignant ones, and those of the lowest recall."""
    scored = subject.tested.evidence.scored
    if scored.probabilities is None or not (scored.targets >= 0).any():
        return
    known, likeliest = scored.targets >= 0, scored.probabilities.argmax(1)
    inside = {name: scored.targets == index for index, name in enumerate(subject.classes)}
    missed = {name: float((likeliest[one] != scored.targets[one]).mean()) for name, one in inside.items() if one.any()}
    last = subject.classes[-1]
    if last not in missed:
        yield Statement(f"how many {last} images it misses is not known: none is there.", "unknown", 0, part="classes")
    for index, name in enumerate(subject.classes):
        if not missed.get(name) or (name != last and missed[name] < max(missed.values())):
            continue
        total, called = int(inside[name].sum()), known & (likeliest == index)
        taken = [
            f"{int((likeliest[inside[name]] == other).sum())} {words}"
            for other, words in enumerate(subject.classes)
            if other != index
        ]
        figures = [
            Figure(score, found.value, found.interval, n, of)
            for score, n, of in (
                ("recall", total, f"{name} images"),
                ("precision", int(called.sum()), f"images called {name}"),
            )
            if (found := subject.figures.scores.get(f"{score}_{name}"))
        ]
        yield Statement(
            f"of {counted(total, f'{name} image')} {round(missed[name] * total):,} are called something else: "
            f"{' and '.join(taken)}.",
            "against",
            missed[name],
            figures,
            part="classes",
        )


def _to_single(subject: ModelResults) -> Iterator[Statement]:
    figures = subject.figures
    if not isinstance(figures, FinalScores) or (own := figures.primary) is None or not figures.difference:
        return  # nothing is to say of what is the best single candidate
    scored = subject.tested.evidence.scored
    n = int(lesions(scored).sum()) if figures.metric == "dice" else len(scored)
    low, high = figures.difference_interval if own.interval else (np.nan, np.nan)
    better, worse = low > 0, high < 0
    which = "better than" if better else "worse than" if worse else "not told apart from"
    yield Statement(
        f"the ensemble is {which} its best single candidate.",
        "for" if better else "against" if worse else "unknown",
        abs(figures.difference),
        [Figure("paired difference", figures.difference, (low, high), n, sign=True)],
        f"{METRICS[figures.metric].short} {number(own.value, 3)} against {number(figures.best_single, 3)}.",
    )


def _confidence(subject: ModelResults) -> Iterator[Statement]:
    scored, right = subject.tested.evidence.scored, by_image(subject.tested)["right"]
    if scored.probabilities is None or not np.isfinite(right).any():
        return
    found = Resampled.of(subject.tested).mean(scored.probabilities.max(1) - right, np.ones(len(right), bool))
    claim = "whether its probabilities hold cannot be told."
    if found.apart:
        claim = f"its probabilities are {'higher' if found.value > 0 else 'lower'} than how often it is right."
    elif found.known:
        claim = "neither over-confidence nor under-confidence is found."
    figures = [found.figure("mean probability of the likeliest class minus accuracy", sign=True)]
    if error := subject.figures.scores.get("ece"):
        figures.append(Figure("expected calibration error", error.value, error.interval, found.n))
    yield Statement(claim, "against" if found.apart else "unknown", abs(found.value), figures, part="classes")


def _uncertainty(subject: ModelResults) -> Iterator[Statement]:
    use = subject.figures.uncertainty
    if not use or not use.images or not (area := error_area(subject)).n:
        return
    errors = f"{counted(use.errors, 'error')} of {use.images:,} images."
    if not np.isfinite(area.value):
        yield Statement("whether its uncertainty tells errors cannot be said.", "unknown", 0, more=errors)
        return
    reverse = area.known and area.high < 0.5
    side: Side = "for" if use.useful else "against" if reverse else "unknown"
    claim = f"its uncertainty is {'larger' if use.useful else 'smaller'} where it is wrong."
    if side == "unknown":
        claim = "its uncertainty is not shown to tell errors."
    figure = area.figure("chance that an error is less certain than an image that is right")
    yield Statement(claim, side, abs(area.value - 0.5), [figure], f".5 says nothing; {errors}")


def _few(subjects: Sequence[ModelResults]) -> Iterator[Statement]:
    """Kinds of images of which there are too few groups for an interval; once for models of the same images."""
    said: dict[str, list[str]] = {}
    for subject in subjects:
        evidence = subject.tested.evidence
        kinds = {name: evidence.labels == CLASSES.index(name) for name in subject.classes or CLASSES}
        counts = [
            f"{name}: {counted(int(inside.sum()), 'image')} in {counted(groups, 'group')}"
            for name, inside in kinds.items()
            if (groups := len(np.unique(evidence.groups[inside]))) < FEWEST_GROUPS
        ]
        if counts:
            said.setdefault(f"{'; '.join(counts)}; of {len(subject.tested):,} images.", []).append(subject.title)
    for counts_, titles in said.items():
        claim = f"{', '.join(titles)}: of some kinds there are fewer than {FEWEST_GROUPS} groups, too few to tell much."
        yield Statement(claim, "unknown", 0, more=counts_)
