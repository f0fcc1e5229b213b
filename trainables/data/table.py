"""A table that names the images, their masks and all else that is known of them: one row an image, in a CSV file."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Hashable, Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd

from trainables.data import medical, words
from trainables.data.kinds import unexplained
from trainables.data.layouts import TABLE
from trainables.data.manifest import CLASSES, LEFT_OUT, UNKNOWN, DataError, Fault, Manifest, Record
from trainables.data.patients import unread_columns

COLUMNS = ("image", "mask", "label", "patient", "source", "split")
#: Between the masks of one image.
SEPARATOR = ";"
#: Another column with at most this many values divides the images into sub-groups.
MOST_SUBGROUPS = 10


def is_table(path: Path) -> bool:
    """Whether path is a file that is named as a table."""
    return path.suffix.lower() == ".csv" and path.is_file()


def read_csv(table: Path, patient: str = "") -> Manifest:
    """Read a table of COLUMNS, all but `image` optional; paths are absolute or relative to the table's folder.

    Args:
        patient: the column that names the patient; "" for `patient`. A pattern of file names is of no account here.

    Whether the files exist is found out when they are decoded. Column names and labels may be in any case.

    Raises:
        DataError: not a CSV file; no column `image`, or neither `mask` nor `label`.
    """
    rows = read_table(table)
    if patient and "{" not in patient:
        if patient.lower() not in rows:
            raise DataError(f"{table}: no column {patient!r} (found: {', '.join(rows.columns)})")
        rows["patient"] = rows[patient.lower()]
    if "image" not in rows or not {"mask", "label"} & set(rows):
        found = ", ".join(rows.columns)
        raise DataError(f"{table}: needs a column image, and mask or label or both; name them so (found: {found})")
    sizes = (*words.SPACING_COLUMNS, *words.UNITLESS_COLUMNS)
    subgroups = [str(column) for column in rows if column not in (*COLUMNS, *sizes) and _divides(rows[column])]
    by_image: dict[Path, list[tuple[Record, Fault | None]]] = defaultdict(list)
    faults = []
    for number, row in enumerate(rows.to_dict("records"), start=1):
        if row["image"]:
            record = _record(row, table.parent, subgroups)
            by_image[record.image].append((record, _fault(record, row)))
            if _spacing(row) is None:
                faults.append(Fault(record.image, "no size of a pixel in its row", "size unknown"))
        else:
            faults.append(Fault(table, f"row {number} names no image", "ignored"))
    records = []
    for image, told in by_image.items():
        record, fault = told[0]
        if len({record for record, _ in told}) > 1:
            fault = Fault(image, f"rows of {table.name} disagree")
        elif len(told) > 1 and fault is None:
            fault = Fault(image, f"{len(told)} rows of {table.name} are the same", "used once")
        if fault is not None:
            faults.append(fault)
        if fault is None or not fault.left_out:
            records.append(record)
    headers = medical.headers({str(record.image): record.image for record in records}, faults)
    lost = {fault.file for fault in faults if fault.left_out}
    named = any(record.patient for record in records)
    records = [_with(headers.get(str(one.image)), one, named) for one in records if one.image not in lost]
    manifest = Manifest.ordered(table, TABLE, records, faults)
    known = any(record.patient for record in records)
    unread = tuple(unread_columns(map(str, rows.columns), (*COLUMNS, *subgroups)))
    return replace(
        manifest,
        patients_from=("DICOM headers" if not named else f"column {patient or 'patient'}") if known else "",
        unread=unread,
        warnings=(*medical.burned_in(headers.values()), *_unread_sizes(rows), *unexplained(manifest.records)),
    )


def read_table(table: Path) -> pd.DataFrame:
    """The cells of a CSV file, or of a workbook's first sheet, as stripped strings; column names in lower case.

    Columns of a CSV file stand between commas, semicolons or tabs, whatever its first line has most of.

    Raises:
        DataError: not a CSV file in UTF-8, no workbook, or two columns of one name.
    """
    try:
        if table.suffix.lower() == ".xlsx":
            rows = pd.read_excel(table, dtype=str, keep_default_na=False)
        else:
            with table.open(encoding="utf-8-sig") as file:
                header = file.readline()
            separator = max(",;\t", key=header.count)
            rows = pd.read_csv(table, sep=separator, dtype=str, keep_default_na=False, index_col=False)
    except ImportError:
        raise DataError(
            f"{table}: reading a workbook needs openpyxl: pip install openpyxl, or save it as CSV"
        ) from None
    except ValueError as error:  # pandas' own errors and UnicodeDecodeError are ValueErrors
        raise DataError(f"{table}: not a CSV file in UTF-8 ({str(error).splitlines()[0]}); save it as one") from error
    if any("\0" in str(text) for column in rows for text in (column, *rows[column])):
        raise DataError(f"{table}: a cell holds a NUL byte, which no name does; save it as a CSV file in UTF-8")
    rows.columns = rows.columns.str.strip().str.lower()
    if rows.columns.has_duplicates:
        twice = rows.columns[rows.columns.duplicated()][0]
        raise DataError(f"{table}: two columns are named {twice!r}; remove or rename one")
    stripped: pd.DataFrame = rows.apply(lambda column: column.str.strip())
    return stripped


def _with(header: medical.Header | None, record: Record, named: bool) -> Record:
    """A record and what its DICOM or NIfTI header says; not its patient, where the table names patients its own way."""
    if header is None:
        return record
    patient = record.patient if named else words.patient_of(header.patient)
    return replace(record, patient=patient, spacing_mm=record.spacing_mm or header.spacing_mm)


def _unread_sizes(rows: pd.DataFrame) -> list[str]:
    return [
        f"warning: nothing reads the column {column!r}: call it {words.SPACING_COLUMNS[0]} if it is mm a pixel"
        for column in words.UNITLESS_COLUMNS
        if column in rows
    ]


def _divides(column: pd.Series) -> bool:
    # A header without a name is pandas' own index, written by to_csv.
    named = not str(column.name).startswith("unnamed:")
    return named and 1 <= column[column != ""].nunique() <= MOST_SUBGROUPS


def _record(row: Mapping[Hashable, str], folder: Path, subgroups: list[str]) -> Record:
    masks = [name.strip() for name in row.get("mask", "").split(SEPARATOR)]
    label = row.get("label", "").lower()
    return Record(
        image=_file(folder, row["image"]),
        masks=tuple(dict.fromkeys(_file(folder, name) for name in masks if name)),
        label=words.class_of(label),
        patient=words.patient_of(row.get("patient", "")),
        source=row.get("source", ""),
        split=words.side_of(row.get("split", "")),
        subgroups=tuple((column, row[column]) for column in subgroups),
        spacing_mm=_spacing(row) or 0.0,
        marked="mask" in row,
    )


def _spacing(row: Mapping[Hashable, str]) -> float | None:
    return words.spacing_of(next((row[column] for column in words.SPACING_COLUMNS if column in row), ""))


def _file(folder: Path, name: str) -> Path:
    return Path(os.path.abspath(folder / name))


def _fault(record: Record, row: Mapping[Hashable, str]) -> Fault | None:
    """What is wrong with one row, the gravest thing first."""
    if "split" in row and not record.split:
        problem = f"unknown split {row['split']!r}" if row["split"] else "no split"
        return Fault(record.image, f"{problem} (known: {', '.join(words.ALL_SIDES)})")
    if record.label == UNKNOWN and row.get("label"):
        problem = f"unknown label {row['label']!r} (known: {', '.join(CLASSES)})"
        return Fault(record.image, problem, "label unknown" if record.masks else LEFT_OUT)
    if record.label == UNKNOWN and not record.masks:
        return Fault(record.image, "neither label nor mask")
    return None
