"""A page as Markdown: the same sentences and tables; charts and pictures by what they show."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from orchestrator.rendering.document import (
    Answer,
    Block,
    Document,
    Gallery,
    Heading,
    SideBySide,
    Statements,
    Table,
    Text,
)
from orchestrator.rendering.html import SYNTHETIC, visible
from orchestrator.rendering.numbers import count

#: What would be taken for a mark wherever it stands, for the start of an address, and at the start of a line.
_MARKS = re.compile(r"([\\`*_\[\]<>|#~&$@]|(?<=[a-zA-Z]):(?=//)|(?<=www)\.)")
_STARTS = re.compile(r"^(\d*)([-+=.)])(?=\s|-|$)")


def to_markdown(document: Document) -> str:
    """The page as GitHub-flavoured Markdown; text is escaped, wherever it comes from."""
    lines = [f"# {_plain(document.title)}", ""]
    if document.synthetic:
        lines += [f"**{_plain(SYNTHETIC)}**", ""]
    lines += [line for text in document.warnings for line in (f"**{_plain(text)}**", "")]
    lines += [line for text in document.lead for line in (_line(text), "")]
    for section in document.filled():
        lines += [f"## {_plain(section.name)}", ""]
        for block in section.blocks:
            lines += _block(block)
    lines += [f"{_line(document.end)} Not a medical device."]
    return "\n".join(lines) + "\n"


def _block(block: Block) -> Iterator[str]:
    if isinstance(block, Heading):
        yield from (f"### {_plain(block.words)}", "")
    elif isinstance(block, Text):
        yield from (f"**{_plain(block.words)}**" if block.warning else _line(block.words), "")
    elif isinstance(block, Answer):
        yield from (f"**{_plain(block.name)}: {_plain(block.word)}**", "")
        yield from (f"- {_plain(name)}: {_plain(words)}" for name, words in block.lines)
        yield ""
    elif isinstance(block, Statements):
        yield from (f"- **{_plain(one.claim)}** {_plain(one.evidence)}".rstrip() for one in block.items)
        yield ""
    elif isinstance(block, Gallery):
        names = "; ".join(", ".join(map(_plain, picture.lines)) or _plain(picture.shows) for picture in block.pictures)
        yield from (f"{_line(block.caption)} Pictures are in the HTML page: {names}.", "")
    elif isinstance(block, SideBySide):
        for item in block.items:
            yield from _block(item)
    elif isinstance(block, Table):
        yield from _table(block)
    else:
        yield from (f"*{_plain(block.caption)}* (a chart; it is in the HTML page)", "")


def _table(table: Table) -> Iterator[str]:
    yield from (_line(table.caption), "")
    yield _row(map(_plain, table.columns))
    yield _row(":--" if i < table.texts else "--:" for i in range(len(table.columns)))
    for place, row in enumerate(table.rows, start=1):
        bold = "**" if table.total and place == len(table.rows) else ""
        yield _row(f"{bold}{_plain(count(cell))}{bold}" for cell in row)
    yield ""


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _line(text: str) -> str:
    """Text at the start of a line."""
    return _STARTS.sub(r"\1\\\2", _plain(text))


def _plain(text: str) -> str:
    """Text within a line; what turns its direction, or cannot be seen, is a replacement character."""
    return _MARKS.sub(r"\\\1", visible(" ".join(text.split())))
