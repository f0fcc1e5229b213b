"""Whether a model can be used, for what, and how sure that is: what a page says first."""

from __future__ import annotations

from typing import Literal

from orchestrator.rendering.document import Answer
from orchestrator.rendering.numbers import counted, with_interval
from orchestrator.report.results.means import counted_images, counted_kinds
from orchestrator.report.results.subject import ModelResults
from orchestrator.scoring.metrics import PRIMARY_WORDS
from orchestrator.scoring.verdict import NOT_USABLE, UNTOLD, USABLE, Judgement, Verdict, Word

UNWRITTEN = "no verdict was written; build the ensemble again"
Tone = Literal["red", "amber", "quiet"]
TONES: dict[Word, Tone] = {NOT_USABLE: "red", USABLE: "quiet"}


def answer(name: str, given: Verdict | Judgement | None, purpose: str, *lines: tuple[str, str]) -> Answer:
    """The first words of a page.

    Args:
        name: of the model, or of what it was judged by. given: what it may be called; None of an older file.
        purpose: of `purpose`. lines: what else is told, by name, such as how sure.
    """
    if given is None:
        return Answer(name, UNWRITTEN, "amber", (("for what", purpose), *lines))
    why = given.line.removeprefix(f"{given.word}: ")
    if given.word in (NOT_USABLE, UNTOLD):
        purpose = f"nothing yet; it is meant for {purpose}"
    told = (("why", why), ("for what", purpose), *lines)
    return Answer(name, given.word, TONES.get(given.word, "amber"), told)


def purpose(subject: ModelResults, source: str, sizes: str) -> str:
    """What the model is for: its task, its classes, and the images that this holds for."""
    classes = f"telling {', '.join(subject.classes[:-1])} and {subject.classes[-1]} apart" if subject.classes else ""
    does = [*([classes] if classes else []), *(["outlining lesions"] if subject.task != "cls" else [])]
    return f"{' and '.join(does)} in B-mode images like those of {source}, seen at {sizes} px; in research alone"


def measured(subject: ModelResults) -> str:
    """The images that it was scored on, and the primary metric there."""
    found = subject.figures.primary
    words = PRIMARY_WORDS[subject.figures.metric]
    if found is None:
        value = f"{words} cannot be computed"
    else:
        value = f"{words} {with_interval(found.value, found.interval)}"
        value += ", 95 % in brackets" if found.interval else ", too few groups for an interval"
    kinds = counted_kinds(subject.tested)
    return f"{counted_images(subject.tested)}{f', {kinds}' if kinds else ''}: {value}"


def looked(times: int) -> str:
    """How often the test images were looked at, which is what makes their figures look better than they are."""
    if times < 2:
        return "these test images were looked at once"
    return f"these test images were looked at {counted(times, 'time')}: who chooses by them sees figures too high"
