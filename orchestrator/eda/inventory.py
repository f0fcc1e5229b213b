"""What is in a dataset, in numbers that a script can check: in total, and by source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from trainables.data import CLASSES, Manifest, Prepared
from trainables.data.manifest import NORMAL


def inventory(data: Prepared, manifest: Manifest) -> dict[str, Any]:
    """`total` and `sources`, entries with the same keys.

    Of each: `name`, `layout`, `images` that are used, `labels` by class, `masks` (images with a lesion mask),
    `patients` (None where nobody knows them), `groups`, `left_out`, `left_over`, `split` by side, `spacing_mm` (None
    where it is not known, or differs), `subgroups` (columns), `warnings`.
    """
    names = sorted(set(data.sources)) or [""]
    total = _entry(data, manifest, manifest.root.name, np.arange(len(data.images)))
    sources = [
        _entry(data, manifest, name or manifest.root.name, np.flatnonzero(np.array(data.sources) == name))
        for name in names
    ]
    # Faults and what is left over lie in folders, not in sources.
    of_all = {"left_out": data.left_out, "left_over": manifest.left_over}
    return {"total": total | of_all, "sources": [one | (of_all if len(names) == 1 else {}) for one in sources]}


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
        "warnings": [note for note in data.notes if note.startswith(("warning", "patients unknown"))],
    }


def _sides(data: Prepared, rows: np.ndarray) -> Sequence[str]:
    return ["test" if part < 0 else "validation" if part == 0 else "train" for part in data.split[rows].tolist()]
