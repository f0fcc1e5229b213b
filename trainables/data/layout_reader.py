"""A folder by a layout: which file is an image, which its mask, what a table says of it, and what is left over."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from trainables.data import medical, words
from trainables.data.annotations import annotated, annotation_files
from trainables.data.kinds import labels_by_value, unexplained
from trainables.data.labels import NO_LABEL, Told, find_table, read_labels
from trainables.data.layouts import Layout
from trainables.data.listing import Listing
from trainables.data.manifest import NORMAL, UNKNOWN, Fault, Manifest, Record
from trainables.data.paths import fields

#: What names an image: fields of its path, and what they are.
Key = tuple[tuple[str, str], ...]
#: What a mask may be called after the name of its image.
_EXTENDS = re.compile(r"[ _-](masks?|gt|seg|segmentation|tumou?r|lesion|annotation)\b.*|_mask.*", re.IGNORECASE)


@dataclass
class Matched:
    """The files of a folder by a layout, as '/'-separated relative paths.

    Attributes:
        images: fields of each image. masks: of each image that has some, in numeric order.
        lone: masks without image. left_over: what no rule reads.
    """

    images: dict[str, dict[str, Any]] = field(default_factory=dict)
    masks: dict[str, list[str]] = field(default_factory=dict)
    lone: list[str] = field(default_factory=list)
    left_over: list[str] = field(default_factory=list)


def match(layout: Layout, listing: Listing) -> Matched:
    """Sort the files of a folder."""
    found, masks = Matched(), list[str]()
    for path in listing.images:
        if _first(layout, layout.ignored, path) is not None:
            continue
        own = _first(layout, layout.images, path)
        if own is not None:
            found.images[path] = own
        if _first(layout, layout.masks, path) is not None:
            masks.append(path)
        elif own is None:
            found.left_over.append(path)
    _attach(layout, found, masks)
    stems = {PurePosixPath(path).with_suffix("").as_posix().lower() for path in found.images}
    for path in list(found.images):
        if path not in found.masks and _extends(PurePosixPath(path).with_suffix("").as_posix().lower(), stems):
            del found.images[path]
            if not layout.unmarked:
                found.lone.append(path)
    return found


def fits(layout: Layout, listing: Listing, found: Matched, named: bool = False) -> bool:
    """Whether a folder can be of a layout at all.

    A table is what a layout is known by: it may lack where the layout was `named`, and masks tell the classes.
    """
    known = named and bool(layout.means)
    if layout.table and layout.needs_table and not known and find_table(layout.table, listing) is None:
        return False
    if layout.annotations:
        return bool(found.images) and bool(annotation_files(layout, listing))
    if layout.unmarked:
        return bool(found.images) or (_by_class(layout) and bool(_class_folders(listing.root)))
    return bool(found.images) and bool(found.masks or found.lone)


def to_manifest(name: str, layout: Layout, listing: Listing, found: Matched) -> Manifest:
    """The records and faults of a folder.

    Raises:
        DataError: its table cannot be used.
    """
    root, faults = listing.root, list(listing.faults)
    table = find_table(layout.table, listing) if layout.table else None
    headers = medical.headers({path: root / path for path in found.images}, faults)
    told, unread = dict[str, Told](), list[str]()
    if layout.table and table:
        patients = {path: header.patient for path, header in headers.items()}
        files = {path: root / path for path in found.images}
        told, of_table, unread = read_labels(root / table, layout, files, patients)
        faults += of_table
    drawn = annotated(layout, listing, list(found.images))
    for path, one in drawn.items():
        found.masks[path] = [one.mask] if one.mask else []
        if len(one.classes) > 1:
            faults.append(Fault(root / path, "polygons of several classes", "label unknown"))
    untold = [path for path in found.images if told.get(path, Told()).label == UNKNOWN]
    by_value = labels_by_value(layout, listing, found.masks, untold)
    seen = {root / path for path, label in by_value.items() if label != UNKNOWN}
    faults = [
        replace(f, action="label from its mask") if f.file in seen and f.action == NO_LABEL else f for f in faults
    ]
    lost = {fault.file for fault in faults if fault.left_out}
    scanned = any(path.lower().endswith(medical.DICOM) for path in found.images)
    records = []
    for path, own in found.images.items():
        said = told.get(path, Told())
        polygons = drawn[path].label if path in drawn else UNKNOWN
        told_by = (
            said.label,
            polygons,
            by_value.get(path, UNKNOWN),
            words.class_of(own.get("class") or "", layout.classes),
        )
        label = next((label for label in told_by if label != UNKNOWN), UNKNOWN)
        header = headers.get(path, medical.Header())
        record = Record(
            root / path,
            tuple(root / mask for mask in found.masks.get(path, [])),
            label,
            patient=said.patient or words.patient_of(own.get("patient") or header.patient),
            split=words.side_of(own.get("split") or ""),
            subgroups=said.subgroups + (header.scanner if scanned else ()),
            spacing_mm=said.spacing_mm or header.spacing_mm,
            marked=not layout.unmarked,
            resized_masks=layout.resized_masks,
        )
        if record.image in lost:
            continue
        if header.spacing_mm and abs(record.spacing_mm / header.spacing_mm - 1) > 0.05:
            sizes = f"{header.spacing_mm:g} mm a pixel in its header, {record.spacing_mm:g} in {table}"
            faults.append(Fault(record.image, sizes, "the table's is used"))
        if layout.unmarked or record.masks or label == NORMAL:
            records.append(record)
        else:
            faults.append(Fault(record.image, "image without mask"))
    faults += [Fault(root / mask, "mask without image", "ignored") for mask in found.lone]
    faults += _empty_classes(layout, listing, found)
    faults += _left_over(root, found.left_over)
    return replace(
        Manifest.ordered(root, name, records, faults),
        left_over=len(found.left_over) + sum(fault.left_out for fault in listing.faults),
        patients_from=_patients_from(layout, table, told, records),
        unread=tuple(unread),
        warnings=(
            *medical.burned_in(headers.values()),
            *([] if layout.means or layout.values else unexplained(records)),
        ),
    )


def _attach(layout: Layout, found: Matched, masks: list[str]) -> None:
    """Give each image its masks; what is a mask of an image is no image."""
    by_key: dict[Key, list[str]] = defaultdict(list)
    for path, own in found.images.items():
        by_key[_key(own)].append(path)
    numbered: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for mask in masks:
        for text in layout.masks:
            named = _first(layout, (text,), mask)
            own_images = [path for path in by_key.get(_key(named), []) if path != mask] if named else []
            if named and own_images:
                found.images.pop(mask, None)
                plain = text.endswith("{name}")
                for image in own_images:  # one picture may stand there in two formats
                    numbered[image].append((-1 if plain else int(named.get("number") or 0), mask))
                break
        else:
            if found.images.pop(mask, None) is not None or _first(layout, layout.masks, mask) is not None:
                found.lone.append(mask)
    found.masks = {image: [mask for _, mask in sorted(own)] for image, own in numbered.items() if image in found.images}


def _extends(stem: str, stems: set[str]) -> bool:
    """Whether a name is that of another image and a word for a mask, or says of itself that it is one."""
    if "_mask" in PurePosixPath(stem).name:
        return True
    return any(stem[: found.start()] in stems for found in _EXTENDS.finditer(stem))


def _first(layout: Layout, patterns: tuple[str, ...], path: str) -> dict[str, Any] | None:
    own = tuple(word for word, _ in layout.classes)
    return next((found for text in patterns if (found := fields(text, path, own)) is not None), None)


def _key(named: dict[str, Any]) -> Key:
    """What names an image, and its masks alike; A.png and a.png are two."""
    words_ = ("class", "split")
    kept = ((name, value) for name, value in named.items() if name != "number" and value)
    return tuple(sorted((name, value.lower() if name in words_ else value) for name, value in kept))


def _patients_from(layout: Layout, table: str | None, told: dict[str, Told], records: list[Record]) -> str:
    if table and any(said.patient for said in told.values()):
        return table
    if any(record.patient and medical.is_medical(record.image) for record in records):
        return "DICOM headers"
    return "file names" if any("{patient}" in text for text in layout.images) else ""


def _class_folders(root: Path) -> list[Path]:
    return [folder for folder in sorted(root.iterdir()) if folder.is_dir() and words.class_of(folder.name) != UNKNOWN]


def _by_class(layout: Layout) -> bool:
    return any(text.startswith("{class}/") for text in layout.images)


def _empty_classes(layout: Layout, listing: Listing, found: Matched) -> list[Fault]:
    if not _by_class(layout):
        return []
    full = {path.split("/")[0] for path in found.images}
    return [Fault(f, "class has no images", "ignored") for f in _class_folders(listing.root) if f.name not in full]


def _left_over(root: Path, paths: list[str]) -> list[Fault]:
    """A line a folder."""
    counts = Counter(PurePosixPath(path).parent.as_posix() for path in paths)
    return [
        Fault(root / folder, f"{count} image{'s' * (count > 1)} that no rule of the layout reads", "left over")
        for folder, count in counts.items()
    ]
