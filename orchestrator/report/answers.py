"""What a report says first: whether each model can be used, for what, and how sure that is."""

from __future__ import annotations

from orchestrator.rendering.document import Answer
from orchestrator.rendering.numbers import counted, with_error
from orchestrator.report.gather import ReportedSearch
from orchestrator.report.results import answers
from orchestrator.scoring.metrics import PRIMARY_WORDS


def answer(one: ReportedSearch) -> Answer:
    """Of one search's winner."""
    found, subject = one.ensemble, one.subject
    purpose = answers.purpose(subject, found.data.source, str(one.search.image_size))
    lines = [
        ("how sure: held-out images", _held_out(one)),
        ("how sure: test images", f"{answers.measured(subject)}; {answers.looked(subject.times_scored or 0)}"),
    ]
    if subject.synthetic:
        lines.append(("synthetic", "phantom images of this program; such figures say nothing about patients"))
    if found.sources:
        words = ", ".join(f"{row.name}: {row.word or 'no verdict was written'}" for row in found.sources)
        lines.append(("by source", f"{words} (each source has its own verdict)"))
    return answers.answer(f"{one.title.capitalize()}, search {one.search.name}", found.verdict, purpose, *lines)


def _held_out(one: ReportedSearch) -> str:
    found, winner = one.ensemble, one.ensemble.winning
    groups = "" if one.held_out_groups is None else f" in {counted(one.held_out_groups, 'group')}"
    value = f"{PRIMARY_WORDS[found.test.metric]} {with_error(winner.score, winner.standard_error, 3)} (standard error)"
    doubt = "; optimistic: of the fold that chose epoch and configuration" if one.optimistic else ""
    images = counted(found.compared.images, "image")
    return f"{images}{groups}, each predicted by models that did not see it: {value}{doubt}"
