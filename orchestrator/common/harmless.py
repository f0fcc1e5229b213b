"""Text from elsewhere, as names of files are, made harmless where it is shown: in a terminal, in a spreadsheet."""

from __future__ import annotations

import unicodedata

#: Kinds of characters that a terminal obeys, that cannot be seen, or that turn text about: control, format, halves of
#: surrogate pairs (bytes that are no UTF-8), breaks of lines and paragraphs.
_OBEYED = ("Cc", "Cf", "Cs", "Zl", "Zp")
#: What a cell begins with that a spreadsheet takes for a formula, or strips to find one.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def harmless(text: str) -> str:
    r"""One line that a terminal prints as it stands: what it would obey is written out (`\x1b`, `\n`, `\u202e`)."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(one) if unicodedata.category(one) in _OBEYED else one for one in text)


def cell(text: str) -> str:
    """Text of a table that spreadsheets open: what one would run as a formula stands behind a single quote."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode()
