"""Pages as HTML: the templates that set them, what may stand in them, and where they are written."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from orchestrator.common.console import format_seconds
from orchestrator.common.errors import UserError
from orchestrator.rendering.numbers import count, counted
from orchestrator.storage.atomic import write_text

#: The end of a page's name by its format.
SUFFIXES = {"html": (".html", ".htm"), "md": (".md", ".markdown"), "json": (".json",)}
#: Control characters but tabs and line breaks, and those that turn the direction of text.
_HIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
SYNTHETIC = "SYNTHETIC DATA: phantom images made by this program. Their figures say nothing about patients."


def render(template: str, **values: Any) -> str:
    """A page from a template of `orchestrator/rendering/templates`; text is escaped, wherever it comes from."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("orchestrator.rendering"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
    environment.filters.update(count=count, counted=counted, kind=lambda block: type(block).__name__)
    environment.globals.update(SYNTHETIC=SYNTHETIC)
    return environment.get_template(template).render(**values)


def check_place(file: Path, format: str = "html") -> None:
    """Refuse a page's place before any work is done for it.

    Args:
        format: html, md or json.

    Raises:
        UserError: another suffix than such a page has, a folder, or a folder above it that cannot be written to.
    """
    if file.is_dir():
        raise UserError(f"--out {file}: a folder; name the page, for example {file / f'page.{format}'}")
    if file.suffix.lower() not in SUFFIXES[format]:
        kinds = [kind for kind in ("html", "md") if file.suffix.lower() in SUFFIXES[kind]]
        advice = f"give --format {kinds[0]}" if kinds else f"name it {file.stem}{SUFFIXES[format][0]}"
        raise UserError(f"--out {file}: not the name of a page of this format; {advice}")
    above = next(folder for folder in file.parents if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise UserError(f"--out {file}: {above} cannot be written to; name another folder")


def visible(text: str) -> str:
    """Text in which what cannot be seen, and what turns its direction, is a replacement character."""
    return _HIDDEN.sub("\ufffd", text)


def shown(file: Path, seconds: float) -> str:
    """A line for the user: where a page is, its size, and how long it took."""
    return f"page    {file} ({file.stat().st_size / 1e6:.1f} MB, {format_seconds(seconds)})"


def write(file: Path, text: str) -> None:
    """Write a page, or what stands beside it.

    Raises:
        UserError: the file cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, text)
    except OSError as error:
        raise UserError(f"--out {file}: {error.strerror}") from None
