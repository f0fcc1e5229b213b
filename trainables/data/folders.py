"""A dataset in any known layout as a manifest; and the layout of separate folders for images and masks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from trainables.data.busi import (
    attach_masks,
    foreign_files,
    has_class_folders,
    has_masks_beside,
    image_files,
    name_key,
    read_busi,
    read_classes,
)
from trainables.data.manifest import CLASSES, UNKNOWN, DataError, Fault, Manifest, Record
from trainables.data.pixels import IMAGE_SUFFIXES
from trainables.data.table import is_table, read_csv, read_table

_NAME_COLUMNS = ("image", "file", "filename", "name")
_PATIENT_COLUMNS = ("patient", "group")


class Layout(NamedTuple):
    """How a dataset may lie on disk: in words for the user, how to tell that a folder has it, and how to read it."""

    words: str
    found: Callable[[Path], bool]
    read: Callable[[Path], Manifest]


def read_manifest(root: str | Path, layout: str = "auto") -> Manifest:
    """Read the dataset at root, or in exactly one folder directly below it; no pixel is decoded.

    Args:
        root: the folder that holds the dataset, or a table of its images (FILE.csv).
        layout: a name in LAYOUTS, or "auto": the first that fits.

    Raises:
        DataError: unknown layout; no such folder or table; no known layout, or several datasets; no usable image.
    """
    if layout != "auto" and layout not in LAYOUTS:
        raise DataError(f"unknown layout {layout!r}; allowed: {', '.join(['auto', *LAYOUTS])}")
    root = Path(root).expanduser().absolute()
    if not root.is_dir() and not is_table(root):
        problem = "neither a folder nor a table" if root.exists() else "no such folder or table"
        raise DataError(f"{root}: {problem}; give the folder that holds the images, or a FILE.csv that names them")
    if is_table(root) and layout not in ("auto", "csv"):
        raise DataError(f"{root}: a table is of layout csv, not {layout}; give a folder, or no layout")
    try:
        place, name = _locate(root, list(LAYOUTS) if layout == "auto" else [layout])
        manifest = LAYOUTS[name].read(place)
    except OSError as error:
        raise DataError(f"{error.filename}: {error.strerror}; it must be readable") from error
    if not manifest.records:
        faults = f"; {len(manifest.faults)} faults, the first: {manifest.faults[0]}" if manifest.faults else ""
        raise DataError(f"{place}: no usable image in layout {name!r} ({LAYOUTS[name].words}){faults}")
    return manifest


def _locate(root: Path, names: list[str]) -> tuple[Path, str]:
    if is_table(root):
        return root, "csv"
    below = sorted(folder for folder in root.iterdir() if folder.is_dir() and not folder.name.startswith("."))
    for places in ([root], below):
        fits = {place: name for place in places for name in reversed(names) if LAYOUTS[name].found(place)}
        if len(fits) == 1:
            return fits.popitem()
        if fits:
            inside = ", ".join(place.name for place in fits)
            raise DataError(f"{root}: holds several datasets ({inside}); give one of these folders")
    looked_for = "; ".join(f"{name}: {LAYOUTS[name].words}" for name in names)
    raise DataError(
        f"{root}: no usable image found here or one folder below; arrange the images in a known layout ({looked_for})"
    )


def _has_images_and_masks(root: Path) -> bool:
    return (root / "images").is_dir() and (root / "masks").is_dir()


def _read_folders(root: Path) -> Manifest:
    """Read images/, masks/ and the optional labels.csv of root; without labels.csv every label is UNKNOWN."""
    images, table = image_files(root / "images"), root / "labels.csv"
    faults = foreign_files(root / "images") + foreign_files(root / "masks")
    if not images:
        faults.append(Fault(root / "images", "folder has no images", "ignored"))
    labels, table_faults = _read_labels(table, images) if table.is_file() else ({}, [])
    records = [Record(image, (), *labels.get(image, (UNKNOWN, ""))) for image in images]
    records, mask_faults = attach_masks(records, image_files(root / "masks"))
    left_out = {fault.file for fault in table_faults if fault.left_out}
    records = [record for record in records if record.image not in left_out]
    mask_faults = [fault for fault in mask_faults if fault.file not in left_out]  # one image is left out once
    return Manifest.ordered(root, "folders", True, records, faults + table_faults + mask_faults)


def _read_labels(table: Path, images: list[Path]) -> tuple[dict[Path, tuple[int, str]], list[Fault]]:
    """The label and patient of each image by labels.csv, and what is wrong with it; the order of its rows is no matter.

    Columns: the file's name under one of _NAME_COLUMNS, with or without its suffix; label; one of _PATIENT_COLUMNS.
    """
    rows = read_table(table)
    name_column = next((column for column in _NAME_COLUMNS if column in rows), None)
    if name_column is None:
        wanted, present = ", ".join(_NAME_COLUMNS), ", ".join(rows.columns)
        raise DataError(f"{table}: no column names the image; call it one of {wanted} (found: {present})")
    patient_column = next((column for column in _PATIENT_COLUMNS if column in rows), "")
    by_name: dict[str, list[Path]] = defaultdict(list)
    for image in images:
        for name in {image.stem, image.name}:
            by_name[_table_key(name)].append(image)
    said: dict[Path, set[tuple[str, str]]] = defaultdict(set)
    faults = []
    for row in rows.to_dict("records"):
        named = by_name.get(_table_key(row[name_column]), [])
        if not named:
            faults.append(Fault(table, f"row {row[name_column]!r} names no image", "ignored"))
        for image in named:
            said[image].add((row.get("label", "").lower(), row.get(patient_column, "")))
    labels = {}
    for image in images:
        if len(said[image]) > 1:
            faults.append(Fault(image, "rows of labels.csv disagree"))
            continue
        label, patient = next(iter(said[image]), ("", ""))
        labels[image] = (CLASSES.index(label) if label in CLASSES else UNKNOWN, patient)
        if not said[image]:
            faults.append(Fault(image, "no row in labels.csv", "label unknown"))
        elif label not in CLASSES and "label" in rows:
            known = ", ".join(CLASSES)
            faults.append(Fault(image, f"unknown label {label!r} in labels.csv (known: {known})", "label unknown"))
    return labels, faults


def _table_key(name: str) -> str:
    """A file's name as the table may give it: the suffix, if there is one, in lower case."""
    path = Path(name_key(name))
    return path.stem + path.suffix.lower() if path.suffix.lower() in IMAGE_SUFFIXES else path.name


#: In the order in which "auto" tries them.
LAYOUTS: dict[str, Layout] = {
    "busi": Layout(
        "folders benign, malignant, normal with NAME.png, NAME_mask.png, NAME_mask_1.png ...",
        has_masks_beside,
        read_busi,
    ),
    "folders": Layout("folders images and masks, optional labels.csv", _has_images_and_masks, _read_folders),
    "classes": Layout("folders benign, malignant, normal with images only", has_class_folders, read_classes),
    "csv": Layout("a table FILE.csv with columns image, mask, label ...", is_table, read_csv),
}
