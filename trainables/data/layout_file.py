"""A layout of one's own: a TOML file with the fields of `layouts.Layout`."""

from __future__ import annotations

import tomllib
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from trainables.data import words
from trainables.data.layouts import Layout
from trainables.data.manifest import UNKNOWN, DataError
from trainables.data.paths import pattern
from trainables.data.patience import openable
from trainables.stored import told

_LAYOUT = TypeAdapter(Layout)


def read_layout(file: Path) -> Layout:
    """The layout that a file describes; `words` is the file's name where it says none.

    Raises:
        DataError: it cannot be read, or a field is unknown or wrong; the line names it.
    """
    try:
        given = tomllib.loads(openable(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"--layout {file}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # of TOML, and of UTF-8
        raise DataError(f"--layout {file}: not TOML ({error})") from None
    if isinstance(given.get("classes"), dict):
        given["classes"] = list(given["classes"].items())
    try:
        layout = _LAYOUT.validate_python({"words": file.stem, **given})
    except ValidationError as error:
        raise DataError(f"--layout {file}: {told(error)}") from None
    for word, meant in layout.classes:
        if words.class_of(meant) == UNKNOWN:
            raise DataError(f"--layout {file}: classes.{word}: {meant!r} is none of {', '.join(words.CLASS_WORDS)}")
    try:
        check_patterns(layout)
    except ValueError as error:
        raise DataError(f"--layout {file}: {error}") from None
    return layout


def check_patterns(layout: Layout) -> None:
    """See that its patterns are some. Raises ValueError, in words."""
    for text in (*layout.images, *layout.masks, *layout.ignored, *([layout.table.file] if layout.table else [])):
        pattern(text)
