"""Patients that file names or tables may name, and that nothing reads: split unseen, they leak."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from trainables.data import words
from trainables.data.manifest import DataError, Manifest
from trainables.data.paths import fields

#: A column whose name ends so may name patients.
_ID_COLUMN = re.compile(r"(^|[_ ])(id|patient|case|subject|study|exam|person)([_ ]?(id|no|nr|number))?$")
#: What a name begins with, where a number follows.
_PREFIX = re.compile(r"(?P<prefix>.*[^\W_].*?)[_-](?P<rest>[^_-]*\d[^_-]*)")


def with_patients(manifest: Manifest, pattern: str) -> Manifest:
    """A manifest whose patients are named by its file names, without suffix.

    Args:
        pattern: as for `paths.pattern`, with the field {patient}.

    Raises:
        DataError: it fits no file name, or is none.
    """
    try:
        named = [fields(f"{pattern}.x", f"{record.image.stem}.x") for record in manifest.records]
    except ValueError as error:
        raise DataError(f"--patient {pattern}: {error}") from None
    if not any(named):
        raise DataError(f"--patient {pattern}: fits no file name, such as {manifest.records[0].image.name}")
    records = tuple(
        replace(record, patient=words.patient_of(found["patient"]) if found else "")
        for record, found in zip(manifest.records, named, strict=True)
    )
    return replace(manifest, records=records, patients_from=f"file names, as {pattern}")


def unread_columns(columns: Iterable[str], used: Iterable[str]) -> list[str]:
    """Columns of a table that may name patients and that nothing reads."""
    taken = set(used)
    return [column for column in columns if column not in taken and _ID_COLUMN.search(column)]


def shared_prefixes(manifest: Manifest) -> str:
    """Two names with a prefix that may be a patient's, where images share such prefixes; "" where they do not."""
    found = [_PREFIX.fullmatch(record.image.stem) for record in manifest.records]
    prefixes = Counter(match["prefix"].lower() for match in found if match)
    images = len(manifest.records)
    sharing = sum(count for count in prefixes.values() if count > 1)
    # One word for all, or for each class, names no patient.
    if len(prefixes) <= len(words.CLASS_WORDS) + 1 or sharing < images / 4 or sum(prefixes.values()) < images / 2:
        return ""
    first = next(prefix for prefix, count in prefixes.most_common() if count > 1)
    named = [match.string for match in found if match and match["prefix"].lower() == first]
    return " and ".join(named[:2])
