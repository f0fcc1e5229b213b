"""The report's parts in their order."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from orchestrator.rendering.document import (
    Block,
    Chart,
    Document,
    Heading,
    Observation,
    Observations,
    Section,
    SideBySide,
    Table,
    Text,
)
from orchestrator.rendering.numbers import spanned
from orchestrator.report import ensembles
from orchestrator.report.checklist import checklist
from orchestrator.report.gather import ReportedSearch, ReportInputs
from orchestrator.report.model_card import card
from orchestrator.report.results import cases, curves, errors, observations, paired, scores
from orchestrator.report.results.subject import ModelResults
from orchestrator.report.search.section import search_blocks
from orchestrator.scoring.metrics import PRIMARY_WORDS


def contents(gathered: ReportInputs) -> Document:
    """The whole page; what a part needs and is not there is left out, or said in words."""
    studied = gathered.studied
    subjects = [one.subject for one in studied]
    pairs = paired.differences(subjects)
    found = observations.strengths_and_limits(subjects, pairs)
    sections = [
        Section("strengths", "Strengths and limits", [*warnings(gathered), *_sentences(found)]),
        Section("comparison", "Side by side", _comparison(subjects, pairs)),
        Section("classification", "Classification", _classification(subjects)),
        Section("segmentation", "Segmentation", _segmentation(subjects)),
        Section("cases", "Best and worst cases", [block for one in subjects for block in cases.best_and_worst(one)]),
        Section("errors", "Errors", _errors(subjects)),
        Section("uncertainty", "Uncertainty", _filled([curves.risk_coverage(subjects)])),
        Section("ensembles", "Ensembles", [*_overview(studied), *_each(studied)]),
        Section("search", "Search", [block for one in studied for block in _search(one)]),
        Section("card", "Model card", card(gathered)),
        Section("checklist", "Reporting checklist", [checklist(gathered)]),
    ]
    source = studied[0].ensemble.data.source
    searches = ", ".join(one.search.name for one in studied)
    return Document(
        title="Results and comparisons",
        lead=[f"{source}, data fingerprint {gathered.fingerprint[:12]}. Searches: {searches}."],
        facts=facts(gathered),
        sections=sections,
        synthetic=gathered.synthetic,
        end=f"Made by python -m orchestrator.report from stored predictions; data fingerprint {gathered.fingerprint}.",
    )


def facts(gathered: ReportInputs) -> list[tuple[str, str | int]]:
    """The figures at the top of the page."""
    found: list[tuple[str, str | int]] = [("test images", len(_digests(gathered.studied)))]
    for one in gathered.studied:
        test = one.subject.figures
        low, high = test.interval or (math.nan, math.nan)
        found.append((f"{one.title}: {PRIMARY_WORDS[test.metric]}, 95 % {spanned(low, high, 3)}", f"{test.value:.3f}"))
    times = max(one.subject.times_scored or 0 for one in gathered.studied)
    return [*found, ("scorings of the test images", times)]


def warnings(gathered: ReportInputs) -> list[Block]:
    """What figures must not be taken for, and what is missing."""
    optimistic = [one.title for one in gathered.studied if one.optimistic]
    blocks: list[Block] = []
    if optimistic:
        blocks.append(Text(f"{', '.join(optimistic)}: {ensembles.OPTIMISTIC}", warning=True))
    for one in gathered.studied:
        if one.summary and one.summary.status != "done":
            words = f"The search {one.search.name} was {one.summary.status}; more trials may change its part."
            blocks.append(Text(words, warning=True))
    return [*blocks, *(Text(f"{note[0].upper()}{note[1:]}.", warning=True) for note in gathered.notes)]


def _sentences(found: Sequence[Observation]) -> list[Block]:
    return [Observations(found)] if found else [Text("The figures carry no claim on the approaches.")]


def _comparison(subjects: Sequence[ModelResults], pairs: Sequence[paired.Paired]) -> list[Block]:
    found: list[Block] = [scores.metrics(subjects)]
    if pairs:
        return [*found, paired.table(pairs)]
    words = "one approach alone is shown" if len(subjects) == 1 else "no two approaches share a metric"
    return [*found, Text(f"There are no paired differences: {words}.")]


def _classification(subjects: Sequence[ModelResults]) -> list[Block]:
    shown = [one for one in subjects if one.classes]
    if not shown:
        return []
    blocks: list[Block] = []
    for one in shown:
        blocks += [
            Heading(one.title.capitalize()),
            *(block for block in scores.confusion(one) if not _of_pixels(block)),
        ]
        blocks += _filled([scores.per_class(one)])
    drawn = [curves.roc(shown), curves.precision_recall(shown), curves.calibration(shown)]
    names = ("ROC curves", "Precision and recall", "Calibration")
    for name, one_chart in zip(names, drawn, strict=True):
        blocks += [Heading(name), one_chart] if one_chart else []
    points = scores.operating_points(shown)
    return [*blocks, Heading("Operating points"), points] if points else blocks


def _segmentation(subjects: Sequence[ModelResults]) -> list[Block]:
    shown = [one for one in subjects if one.tested.masks is not None]
    if not shown:
        return []
    return [
        *_filled([curves.dice_histogram(shown)]),
        *(b for one in shown for b in scores.confusion(one) if _of_pixels(b)),
    ]


def _of_pixels(block: Block) -> bool:
    """Of the two confusions, that of pixels is a table, that of classes a chart beside its table."""
    return isinstance(block, Table)


def _errors(subjects: Sequence[ModelResults]) -> list[Block]:
    blocks: list[Block] = []
    for name, tables in (
        ("By lesion size", errors.by_size(subjects)),
        ("By class", errors.by_class(subjects)),
        ("By sub-group", errors.by_subgroup(subjects)),
    ):
        blocks += [Heading(name), *tables] if tables else []
    return blocks


def _overview(studied: Sequence[ReportedSearch]) -> list[Block]:
    return [ensembles.overview(studied), *ensembles.standing(studied)]


def _each(studied: Sequence[ReportedSearch]) -> list[Block]:
    return [block for one in studied for block in ensembles.blocks(one)]


def _search(one: ReportedSearch) -> list[Block]:
    heading = Heading(f"{one.title.capitalize()}: {one.search.name}")
    return [heading, *search_blocks(one.search.folder, one.summary, one.ensemble.test.metric)]


def _filled(blocks: Iterable[Chart | Table | SideBySide | None]) -> list[Block]:
    return [block for block in blocks if block is not None]


def _digests(studied: Sequence[ReportedSearch]) -> set[str]:
    return {digest for one in studied for digest in one.subject.tested.evidence.digests}
