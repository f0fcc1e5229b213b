"""Patterns of paths with named fields, as layouts write them: "{class}/{masks}/{name}_mask"."""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import Any

from trainables.data import medical, words
from trainables.data.pixels import IMAGE_SUFFIXES

#: What a field matches within a part of a path; those of one name are its key.
_FIELDS = {
    "class": "|".join(re.escape(word) for all_ in words.CLASS_WORDS.values() for word in all_),
    "split": "|".join(re.escape(word) for all_ in words.SIDE_WORDS.values() for word in all_),
    "images": "|".join(words.IMAGE_FOLDERS),
    "masks": "|".join(words.MASK_FOLDERS),
    "number": r"\d+",
    "patient": r"[^/]+?",
    "name": r"[^/]+?",
    "any": r"[^/]*?",
}
_SUFFIX = "(?:" + "|".join(re.escape(suffix) for suffix in (*sorted(IMAGE_SUFFIXES), *medical.SUFFIXES)) + ")"


@cache
def pattern(text: str, classes: tuple[str, ...] = ()) -> re.Pattern[str]:
    """A pattern of '/'-separated relative paths, case ignored; without a suffix of its own any image's.

    Fields: {class}, {split}, {images}, {masks} are words of `trainables.data.words`; {name} and {patient} any part of a
    name, {number} digits, {any} anything, {**} any folders.

    Args:
        classes: words for a class beside those.

    Raises:
        ValueError: an unknown field.
    """
    known = {**_FIELDS, "class": "|".join([_FIELDS["class"], *map(re.escape, classes)])}
    seen: set[str] = set()

    def field(found: re.Match[str]) -> str:
        name = found[1]
        if name == "**":
            return "(?:.*/)?"
        if name not in known:
            raise ValueError(f"unknown field {{{name}}} in {text!r}: choose from {', '.join(known)}, **")
        if name in ("any", "images", "masks") or name in seen:
            return f"(?P={name})" if name in seen else f"(?:{known[name]})"
        seen.add(name)
        return f"(?P<{name}>{known[name]})"

    # Literals are escaped, fields are not.
    parts = re.split(r"(\{[^}]*\}/?)", text)
    made = "".join(
        field(match) + ("/" if part.endswith("/") and match[1] != "**" else "")
        if (match := re.fullmatch(r"\{([^}]*)\}/?", part))
        else re.escape(part)
        for part in parts
    )
    own_suffix = re.search(r"\.[a-z]\w*$", text.lower()) is not None
    return re.compile(made if own_suffix else made + _SUFFIX, re.IGNORECASE)


def fields(text: str, path: str, classes: tuple[str, ...] = ()) -> dict[str, Any] | None:
    """The fields of a path by a pattern; None where it does not match."""
    found = pattern(text, classes).fullmatch(composed(path))
    return found.groupdict() if found else None


def composed(name: str) -> str:
    """A name for comparing: composed Unicode, since some file systems and archives store accents decomposed."""
    return unicodedata.normalize("NFC", name)
