"""A dataset as a manifest: where it lies, and which layout it has."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from trainables.data.layout_file import read_layout
from trainables.data.layout_reader import Matched, fits, match, to_manifest
from trainables.data.layouts import LAYOUTS, TABLE, Layout, is_layout_file, names
from trainables.data.listing import Listing, list_files
from trainables.data.manifest import DataError, Manifest
from trainables.data.patients import with_patients
from trainables.data.table import is_table, read_csv

#: Share of the images that may be left over without being asked for.
MOST_LEFT_OVER = 0.05
#: Folders between the one that is given and a dataset, at most: archives unpack into one of their own name.
DEEPEST = 2


class _Place(NamedTuple):
    name: str
    layout: Layout
    listing: Listing
    found: Matched


def read_manifest(root: str | Path, layout: str = "auto", patient: str = "", *, resize_masks: bool = False) -> Manifest:
    """Read the dataset at root, or the only one below it; no pixel is decoded.

    Args:
        root: the folder that holds the dataset, or a table of its images (FILE.csv).
        layout: a name in `names()`, "auto": the one that leaves least over, or FILE.toml: see `layout_file`.
        patient: a column of the table, or a pattern of file names with {patient}, as "{patient}_{any}"; "" for what the
            layout says.
        resize_masks: whether masks may be of another size than their image, where they are of its aspect.

    Raises:
        DataError: unknown layout; no such folder or table; no known layout, or several datasets; no usable image; more
            than `MOST_LEFT_OVER` of the images left over, unless the layout was named.
    """
    if resize_masks:
        manifest = read_manifest(root, layout, patient)
        return replace(manifest, records=tuple(replace(record, scaled_masks=True) for record in manifest.records))
    own = {Path(layout).stem: read_layout(Path(layout))} if is_layout_file(layout) else {}
    if not own and layout != "auto" and layout not in names():
        raise DataError(f"unknown layout {layout!r}; allowed: {', '.join(['auto', *names()])}, FILE.toml")
    root = Path(root).expanduser().absolute()
    if not root.is_dir() and not is_table(root):
        problem = "neither a folder nor a table" if root.exists() else "no such folder or table"
        raise DataError(f"{root}: {problem}; give the folder that holds the images, or a FILE.csv that names them")
    if is_table(root):
        if layout not in ("auto", TABLE):
            raise DataError(f"{root}: a table is of layout {TABLE}, not {layout}; give a folder, or no layout")
        found = _usable(read_csv(root, patient), "a table FILE.csv with columns image, mask, label ...")
        return with_patients(found, patient) if "{patient}" in patient else found
    if layout == TABLE:
        raise DataError(f"{root}: a folder is not of layout {TABLE}; give the FILE.csv in it")
    try:
        listing = list_files(root)
        place = _locate(listing, own or (LAYOUTS if layout == "auto" else {layout: LAYOUTS[layout]}))
        of = place.layout
        if of.table and patient and "{patient}" not in patient:
            of = replace(of, table=replace(of.table, patient=(patient.lower(),)))
        manifest = _usable(to_manifest(place.name, of, place.listing, place.found), of.words)
    except OSError as error:
        raise DataError(f"{error.filename}: {error.strerror}; it must be readable") from error
    beside = len(listing.images) - len(place.listing.images)
    left_over = len(place.found.left_over) + beside
    if layout == "auto" and left_over > MOST_LEFT_OVER * len(listing.images):
        left = f"{left_over} of {len(listing.images)} images"
        raise DataError(
            f"{root}: {left} would be left over by layout {place.name} ({place.layout.words}); seen: {tree(listing)}; "
            f"arrange them, or give --layout {place.name} to read the rest alone"
        )
    if "{patient}" in patient:
        return with_patients(manifest, patient)
    if patient and manifest.patients_from == "":
        raise DataError(f"{root}: no table names patients by {patient!r}; give a column, or a pattern of file names")
    return manifest


def tree(listing: Listing) -> str:
    """What lies below a folder, in words: files by folder and suffix."""
    counts: dict[str, int] = {}
    for path in (*listing.images, *listing.others):
        folder, _, name = path.rpartition("/")
        kind = f"{folder or '.'}: *{Path(name).suffix.lower()}"
        counts[kind] = counts.get(kind, 0) + 1
    shown = [f"{kind} {count}" for kind, count in sorted(counts.items())]
    return ", ".join(shown[:12]) + (f", and {len(shown) - 12} more" if len(shown) > 12 else "") or "nothing"


def _locate(listing: Listing, layouts: Mapping[str, Layout]) -> _Place:
    """The layout of the folder, or of the one dataset within."""
    found = _within(listing, layouts, DEEPEST)
    if len(found) == 1:
        return found[0]
    if found:
        each = ", ".join(f"{place.listing.root.relative_to(listing.root)} ({place.name})" for place in found)
        inside = " ".join(shlex.quote(str(place.listing.root)) for place in found)
        raise DataError(f"{listing.root}: holds several datasets: {each}; give one of them, or all: --data {inside}")
    unnamed = "".join(f"; {fault}" for fault in listing.faults if "without the suffix" in fault.problem)
    known = "; ".join(f"{name}: {layout.words}" for name, layout in layouts.items())
    raise DataError(
        f"{listing.root}: no usable image found here or below; seen: {tree(listing)}{unnamed}; arrange the images "
        f"in a known layout ({known}), or name them in a table FILE.csv"
    )


def _within(listing: Listing, layouts: Mapping[str, Layout], depth: int) -> list[_Place]:
    """The dataset that the folder is; if it is none, those of the folders below."""
    if best := _best(listing, layouts):
        return [best]
    if not depth:
        return []
    return [place for folder in listing.folders for place in _within(listing.below(folder), layouts, depth - 1)]


def _best(listing: Listing, layouts: Mapping[str, Layout]) -> _Place | None:
    """The layout that leaves least over; of equals, the first."""
    tried = [_Place(name, layout, listing, match(layout, listing)) for name, layout in layouts.items()]
    fitting = [place for place in tried if fits(place.layout, listing, place.found, len(layouts) == 1)]
    return min(fitting, key=lambda place: len(place.found.left_over), default=None)


def _usable(manifest: Manifest, words: str) -> Manifest:
    if not manifest.records:
        faults = f"; {len(manifest.faults)} faults, the first: {manifest.faults[0]}" if manifest.faults else ""
        raise DataError(f"{manifest.root}: no usable image in layout {manifest.layout!r} ({words}){faults}")
    return manifest
