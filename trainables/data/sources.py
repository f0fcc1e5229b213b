"""Several datasets as one: each image keeps the name of the dataset that it comes from."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from trainables.data.folders import read_manifest
from trainables.data.manifest import DataError, Manifest, Record
from trainables.data.words import written


def read_sources(
    roots: Sequence[str | Path], layout: str = "auto", patient: str = "", *, resize_masks: bool = False
) -> Manifest:
    """Read one dataset, or several as one; no pixel is decoded.

    An image's source is the dataset's folder (or table, without suffix), unless a table says it. Patients count within
    their source. Sub-groups that a dataset does not have are "" for its images.

    Args:
        roots: at least one; layout, patient, resize_masks: as for `read_manifest`, of each.

    Raises:
        DataError: as `read_manifest`; or one lies within another, or two tables have a source of one name.
    """
    if len(roots) == 1:
        return read_manifest(roots[0], layout, patient, resize_masks=resize_masks)
    folders = [Path(root).expanduser().absolute() for root in roots]
    for i, root in enumerate(folders):
        for other in folders[:i]:
            if root.is_relative_to(other) or other.is_relative_to(root):
                raise DataError(f"--data {other} {root}: one lies within the other; give each dataset once")
    read = [read_manifest(root, layout, patient, resize_masks=resize_masks) for root in folders]
    parts = [_named(part, name) for part, name in zip(read, _names(folders), strict=True)]
    where: dict[str, Path] = {}
    for part in parts:
        for name in part.sources:
            if name in where:
                raise DataError(f"{where[name]} and {part.root}: both have a source {name!r}; rename one")
            where[name] = part.root
    columns = list(dict.fromkeys(column for part in parts for column in _columns(part)))
    parts = [replace(part, records=tuple(_with_columns(one, columns) for one in part.records)) for part in parts]
    merged = Manifest.ordered(
        Path(os.path.commonpath(folders)),
        " + ".join(dict.fromkeys(part.layout for part in parts)),
        [record for part in parts for record in part.records],
        [fault for part in parts for fault in part.faults],
    )
    return replace(merged, left_over=sum(part.left_over for part in parts), parts=tuple(parts))


def _names(roots: Sequence[Path]) -> list[str]:
    """The shortest ends of paths that tell them apart."""
    paths = [root.with_suffix("") if root.is_file() else root for root in roots]
    longest = max(len(path.parts) for path in paths)
    for length in range(1, longest):
        names = [written("/".join(path.parts[-length:])) for path in paths]
        if len(set(names)) == len(names):
            break
    return names


def _named(part: Manifest, name: str) -> Manifest:
    return replace(part, records=tuple(replace(one, source=one.source or name) for one in part.records))


def _columns(part: Manifest) -> list[str]:
    return [column for column, _ in part.records[0].subgroups]


def _with_columns(record: Record, columns: Sequence[str]) -> Record:
    own = dict(record.subgroups)
    return replace(record, subgroups=tuple((column, own.get(column, "")) for column in columns))
