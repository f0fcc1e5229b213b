"""What is in a dataset, in numbers that a script can check: in total, and by source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from trainables.data import CLASSES, Manifest, Prepared, Record
from trainables.data.manifest import NORMAL
from trainables.data.notes import patient_notes

#: What is in notes that are more than facts.
WARNINGS = ("warning: ", "patients unknown")


def inventory(data: Prepared, manifest: Manifest) -> dict[str, Any]:
    """`total` and `sources`, entries with the same keys.

    Of each: `name`, `layout`, `images` that are used, `labels` by class, `masks` (images with a lesion mask),
    `patients` (None where nobody knows them), `groups`, `left_out`, `left_over`, `split` by side, `spacing_mm` (None
    where it is not known, or differs), `subgroups` (columns), `warnings`.
    """
    everything = np.arange(len(data.images))
    total = _entry(data, manifest, manifest.root.name, everything) | _lost(data.left_out, manifest.left_over)
    if manifest.parts:
        names = np.array(data.sources)
        sources = [
            _entry(data, part, " and ".join(part.sources), np.flatnonzero(np.isin(names, part.sources)))
            | _lost(len(part.records) - np.isin(names, part.sources).sum() + _left_out(part), part.left_over)
            for part in manifest.parts
        ]
    elif names_in_table := manifest.sources:
        # Faults and what is left over lie in folders, not in the sources of a table.
        sources = [
            _entry(data, manifest, name, np.flatnonzero(np.array(data.sources) == name)) for name in names_in_table
        ]
    else:
        sources = [total]
    return {"total": total, "sources": sources}


def _lost(left_out: int, left_over: int) -> dict[str, int]:
    return {"left_out": int(left_out), "left_over": left_over}


def _left_out(part: Manifest) -> int:
    return sum(fault.left_out for fault in part.faults)


def _entry(data: Prepared, manifest: Manifest, name: str, rows: np.ndarray) -> dict[str, Any]:
    by_file = {str(record.image): record for record in manifest.records}
    records = [by_file[data.files[row]] for row in rows.tolist()]
    patients = {(record.source, record.patient) for record in records if record.patient}
    spacings = {record.spacing_mm for record in records if record.spacing_mm}
    known = [row for row in rows.tolist() if data.labels[row] >= 0]
    return {
        "name": name,
        "layout": manifest.layout,
        "images": len(rows),
        "labels": dict(Counter(CLASSES[data.labels[row]] for row in known)),
        "masks": sum(bool(record.masks) and record.label != NORMAL for record in records),
        "patients": len(patients) or None,
        "groups": len(np.unique(data.groups[rows])),
        "left_out": None,
        "left_over": None,
        "split": dict(Counter(_sides(data, rows))),
        "spacing_mm": spacings.pop() if len(spacings) == 1 else None,
        "subgroups": sorted({column for record in records for column, value in record.subgroups if value}),
        "warnings": [note for note in _notes(data, manifest, records) if any(words in note for words in WARNINGS)],
    }


def _notes(data: Prepared, manifest: Manifest, records: Sequence[Record]) -> Sequence[str]:
    """What is said of a dataset: all of it of the only one, of one of several what concerns it alone."""
    if len(records) == len(data.images):
        return data.notes
    return (*patient_notes(manifest, records), *manifest.warnings)


def _sides(data: Prepared, rows: np.ndarray) -> Sequence[str]:
    return ["test" if part < 0 else "validation" if part == 0 else "train" for part in data.split[rows].tolist()]
