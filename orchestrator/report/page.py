"""The report's parts in their order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from orchestrator.rendering.document import (
    Block,
    Chart,
    Document,
    Heading,
    Section,
    Table,
    Text,
)
from orchestrator.report import ensembles
from orchestrator.report.answers import answer
from orchestrator.report.checklist import checklist
from orchestrator.report.gather import ReportedSearch, ReportInputs
from orchestrator.report.model_card import card
from orchestrator.report.results import cases, curves, errors, glossary, malignancy, paired, scores
from orchestrator.report.results.statements import listed, statements
from orchestrator.report.results.subject import ModelResults
from orchestrator.report.search.section import search_blocks


def contents(gathered: ReportInputs) -> Document:
    """The whole page; what a part needs and is not there is left out, or said in words."""
    studied = gathered.studied
    subjects = [one.subject for one in studied]
    pairs = paired.differences(subjects)
    said = statements(subjects)
    sections = [
        Section("answer", "Can I use it?", [*map(answer, studied), *warnings(gathered)]),
        Section("strengths", "Strengths and limits", listed(said)),
        Section("comparison", "Side by side", _comparison(subjects, pairs)),
        Section("classification", "Classification", _classification(subjects)),
        Section("segmentation", "Segmentation", _segmentation(subjects)),
        Section("cases", "Best and worst cases", [block for one in subjects for block in cases.best_and_worst(one)]),
        Section("errors", "Errors", _errors(subjects)),
        Section("uncertainty", "Uncertainty", _filled([curves.risk_coverage(subjects)])),
        Section("ensembles", "Ensembles", [*_overview(studied), *_each(studied)]),
        Section("search", "Search", [block for one in studied for block in _search(one)]),
        Section("card", "Model card", card(gathered, said)),
        Section("checklist", "Reporting checklist", [checklist(gathered)]),
        Section("words", "Words", [glossary.table()]),
    ]
    source = studied[0].ensemble.data.source
    searches = ", ".join(one.search.name for one in studied)
    return Document(
        title="Results and comparisons",
        lead=[f"{source}, data fingerprint {gathered.fingerprint[:12]}. Searches: {searches}."],
        sections=sections,
        synthetic=gathered.synthetic,
        end=f"Made by python -m orchestrator.report from stored predictions; data fingerprint {gathered.fingerprint}.",
    )


def warnings(gathered: ReportInputs) -> list[Block]:
    """What figures must not be taken for, and what is missing."""
    blocks: list[Block] = []
    for one in gathered.studied:
        if one.summary and one.summary.status != "done":
            words = f"The search {one.search.name} was {one.summary.status}; more trials may change its part."
            blocks.append(Text(words, warning=True))
    return [*blocks, *(Text(f"{note[0].upper()}{note[1:]}.", warning=True) for note in gathered.notes)]


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
    tables = [table for one in shown for table in (scores.confusion(one), scores.per_class(one))]
    points = scores.operating_points(shown)
    return [*_filled(tables), *curves.of_classes(shown), *_filled([points]), *malignancy.blocks(shown)]


def _segmentation(subjects: Sequence[ModelResults]) -> list[Block]:
    shown = [one for one in subjects if one.tested.masks is not None]
    return _filled([curves.dice_histogram(shown), *map(scores.pixels, shown)]) if shown else []


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


def _filled(blocks: Iterable[Chart | Table | None]) -> list[Block]:
    return [block for block in blocks if block is not None]
