"""What a table says of the images of a folder: label, patient, sub-groups, size of a pixel."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from trainables.data import words
from trainables.data.layouts import Layout, Table
from trainables.data.listing import Listing
from trainables.data.manifest import CLASSES, UNKNOWN, DataError, Fault
from trainables.data.paths import composed, fields
from trainables.data.patients import unread_columns
from trainables.data.pixels import IMAGE_SUFFIXES
from trainables.data.table import read_table

#: What is done about an image whose class a table does not say.
NO_LABEL = "label unknown"


class Told(NamedTuple):
    """Of one image."""

    label: int = UNKNOWN
    patient: str = ""
    subgroups: tuple[tuple[str, str], ...] = ()
    spacing_mm: float = 0.0


def find_table(table: Table, listing: Listing) -> str | None:
    """The path of the table; None where there is none."""
    return next((path for path in listing.others if fields(table.file, path) is not None), None)


def read_labels(
    file: Path, layout: Layout, images: Mapping[str, Path], patients: Mapping[str, str]
) -> tuple[dict[str, Told], list[Fault], list[str]]:
    """What the table says of each image, by its path, and what is wrong with it; the order of rows is no matter.

    And columns that may name patients, and that nothing reads.

    Args:
        patients: of each image, as its header says; a row may name one where no column names images.

    Raises:
        DataError: it cannot be read, or no column names the image.
    """
    table = layout.table
    assert table is not None
    rows = read_table(file)
    keys = (*table.key, *(table.patient if any(patients.values()) else ()))
    key = next((column for column in keys if column in rows), None)
    if key is None:
        wanted, present = ", ".join(table.key), ", ".join(rows.columns)
        raise DataError(f"{file}: no column names the image; call it one of {wanted} (found: {present})")
    label, patient, spacing = (
        next((column for column in columns if column in rows and column != key), "")
        for columns in (table.label, table.patient, table.spacing)
    )
    subgroups = [column for column in table.subgroups if column in rows]
    by_name: dict[str, list[str]] = defaultdict(list)
    for path in images:
        for name in {PurePosixPath(path).stem, PurePosixPath(path).name}:
            by_name[_named(name)].append(path)
        if key in table.patient and key not in table.key and patients.get(path):
            by_name[patients[path]].append(path)
    said: dict[str, set[tuple[str, str, tuple[tuple[str, str], ...], str]]] = defaultdict(set)
    faults = []
    for row in rows.to_dict("records"):
        named = _images_of(row, key, by_name)
        if not named:
            faults.append(Fault(file, f"row {row[key]!r} names no image", "ignored"))
        for path in named:
            groups = tuple((column, row[column]) for column in subgroups)
            said[path].add(
                (row.get(label, "").lower(), words.patient_of(row.get(patient, "")), groups, row.get(spacing, ""))
            )
    told: dict[str, Told] = {}
    for path, image in images.items():
        if len(said[path]) > 1:
            faults.append(Fault(image, f"rows of {file.name} disagree"))
            continue
        nothing = ("", "", tuple((column, "") for column in subgroups), "")
        word, who, groups, size = next(iter(said[path]), nothing)
        spacing_mm = words.spacing_of(size, table.spacing_unit_mm)
        told[path] = Told(words.class_of(word, layout.classes), who, groups, spacing_mm or 0.0)
        if spacing_mm is None:
            faults.append(Fault(image, f"no size of a pixel: {size!r} in {file.name}", "size unknown"))
        if not said[path]:
            faults.append(Fault(image, f"no row in {file.name}", NO_LABEL))
        elif told[path].label == UNKNOWN and label:
            known = ", ".join(CLASSES)
            faults.append(Fault(image, f"unknown label {word!r} in {file.name} (known: {known})", NO_LABEL))
    return told, faults, unread_columns(rows.columns, (key, label, patient, *subgroups))


def _images_of(row: Mapping[Hashable, str], key: str, by_name: Mapping[str, list[str]]) -> list[str]:
    """The images that a row names; a number may have lost its zeros."""
    name = _named(row[key])
    if name in by_name or not name.isdigit():
        return by_name.get(name, [])
    return [path for stem, paths in by_name.items() if stem.isdigit() and int(stem) == int(name) for path in paths]


def _named(name: str) -> str:
    """A file's name as a table may give it: the suffix, if there is one, in lower case."""
    path = PurePosixPath(composed(name))
    return path.stem + path.suffix.lower() if path.suffix.lower() in IMAGE_SUFFIXES else path.name
