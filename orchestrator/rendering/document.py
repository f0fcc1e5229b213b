"""A page as sections of blocks, which HTML and Markdown are both made from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from markupsafe import Markup

from orchestrator.rendering.html import render
from orchestrator.rendering.numbers import with_interval


@dataclass(frozen=True)
class Table:
    """A table; its first `texts` columns are words, the others are numbers and stand to the right.

    Attributes:
        caption: what it shows, and of how many.
        columns: names. rows: cells as text, or whole numbers.
        rules: rows that stand below a heavier line.
        total: the last row is a sum of others.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | int]]
    rules: Sequence[int] = ()
    texts: int = 1
    total: bool = False


@dataclass(frozen=True)
class Chart:
    """A chart as SVG, and a caption that says what is seen, and of how many."""

    svg: Markup
    caption: str


@dataclass(frozen=True)
class Picture:
    """A picture: the address of its pixels, its size in them, what it shows, and lines below it; names are text."""

    address: str
    width: int
    height: int
    shows: str
    lines: Sequence[str] = field(default_factory=tuple)


Side = Literal["for", "against", "unknown"]


class Observation(NamedTuple):
    """A sentence on data, and what it rests on."""

    claim: str
    evidence: str


class Figure(NamedTuple):
    """What a sentence rests on: a value, its interval of 95 % if there is one, and how many it is of."""

    words: str
    value: float
    interval: Sequence[float] | None
    n: int
    of: str = "images"
    sign: bool = False

    def __str__(self) -> str:
        of = self.of.replace("images", "image", 1) if self.n == 1 else self.of
        return f"{self.words}: {with_interval(self.value, self.interval, 3, self.sign)}, n = {self.n:,} {of}"


@dataclass(frozen=True)
class Statement:
    """A sentence on a model.

    Attributes:
        claim: it, with its full stop. figures, more: what it rests on; the latter are sentences.
        side: whether it speaks for the model or against it; unknown where it does neither, or cannot be told.
        weight: the size of what it tells, 0 to 1; more than 1 of the floor.
        part: of the model, which other statements of the same part may take the praise from; "" for the whole.
        floor: whether the model is not usable without it.
    """

    claim: str
    side: Side
    weight: float
    figures: Sequence[Figure] = ()
    more: str = ""
    part: Literal["masks", "classes", ""] = ""
    floor: bool = False

    @property
    def evidence(self) -> str:
        """What it rests on, in words."""
        figures = "; ".join(map(str, self.figures))
        figures = f"{figures[0].upper()}{figures[1:]}." if figures else ""
        return " ".join(filter(None, (figures, self.more)))


@dataclass(frozen=True)
class Heading:
    """A heading within a section."""

    words: str


@dataclass(frozen=True)
class Text:
    """A paragraph; a quiet one says how to read what follows, a warning what it must not be taken for."""

    words: str
    quiet: bool = False
    warning: bool = False


@dataclass(frozen=True)
class Statements:
    """Sentences, each with what it rests on."""

    items: Sequence[Statement]


@dataclass(frozen=True)
class Answer:
    """Whether a model can be used.

    Attributes:
        name: the model. word: what it may be called.
        tone: red below the floor, amber where it has limits or nothing can be told.
        lines: why, for what and how sure, by name.
    """

    name: str
    word: str
    tone: Literal["red", "amber", "quiet"]
    lines: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Gallery:
    """Pictures in rows of six, and what they are."""

    caption: str
    pictures: Sequence[Picture]


@dataclass(frozen=True)
class SideBySide:
    """Charts and tables that stand side by side where there is room."""

    items: Sequence[Chart | Table]


Block = Heading | Text | Answer | Statements | Gallery | SideBySide | Table | Chart


@dataclass(frozen=True)
class Section:
    """A part of a page. `id` is what a link to it says: lower case letters and hyphens."""

    id: str
    name: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Document:
    """A page.

    Attributes:
        title: at its top. lead: a quiet line or two below.
        sections: its parts; those without blocks are left out.
        synthetic: whether any of its data are, which the page then says before anything else.
        end: what made it, with the full identity of its data.
        warnings: what must be known before any of it is read; they stand first.
    """

    title: str
    lead: Sequence[str]
    sections: Sequence[Section]
    synthetic: bool
    end: str
    warnings: Sequence[str] = ()

    def filled(self) -> list[Section]:
        """The sections that have anything to show, and of them what there is."""
        shown = [
            Section(one.id, one.name, [block for block in one.blocks if not _empty(block)]) for one in self.sections
        ]
        return [section for section in shown if section.blocks]


def to_html(document: Document) -> str:
    """The page as HTML."""
    html = render(
        "document.html",
        title=document.title,
        synthetic=document.synthetic,
        document=document,
        sections=document.filled(),
    )
    names = re.findall(r'\bid="([^"]+)"', html)
    assert len(names) == len(set(names)), "two charts of one name, or two sections of one id"
    return html


def _empty(block: Block) -> bool:
    if isinstance(block, Gallery):
        return not block.pictures
    return isinstance(block, Statements | SideBySide) and not block.items
