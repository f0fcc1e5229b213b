"""Images in class folders: the BUSI layout with masks beside its images, and the same folders without masks.

BUSI: W. Al-Dhabyani et al., "Dataset of breast ultrasound images", Data in Brief 28 (2020) 104863.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from trainables.data.manifest import CLASSES, NORMAL, Fault, Manifest, Record
from trainables.data.pixels import IMAGE_SUFFIXES

#: Images in formats that are not read: said, where other files (notes, tables) are passed over in silence.
_FOREIGN_SUFFIXES = frozenset({".dcm", ".gif", ".jp2", ".pgm", ".ppm", ".webp"})
_MASK_STEM = re.compile(r"(?P<image>.+)_mask(?:_(?P<number>\d+))?", re.IGNORECASE)


def has_class_folders(root: Path) -> bool:
    """Whether root has a folder named as a class."""
    return bool(class_folders(root))


def has_masks_beside(root: Path) -> bool:
    """Whether a class folder of root holds a mask."""
    return any(_is_mask(file) for folder, _ in class_folders(root) for file in image_files(folder))


def read_busi(root: Path) -> Manifest:
    """Read NAME.png with NAME_mask.png, NAME_mask_1.png ... from the class folders of root."""
    return _read_classes(root, with_masks=True)


def read_classes(root: Path) -> Manifest:
    """Read the images of the class folders of root for their labels alone; masks, if there are any, are passed over."""
    return _read_classes(root, with_masks=False)


def _read_classes(root: Path, with_masks: bool) -> Manifest:
    records: list[Record] = []
    faults: list[Fault] = []
    for folder, label in class_folders(root):
        files = image_files(folder)
        found = [Record(file, (), label) for file in files if not _is_mask(file)]
        if not found:
            faults.append(Fault(folder, "class has no images", "ignored"))
        faults += foreign_files(folder)
        if with_masks:
            found, mask_faults = attach_masks(found, [file for file in files if _is_mask(file)])
            faults += mask_faults
        records += found
    return Manifest.ordered(root, "busi" if with_masks else "classes", with_masks, records, faults)


def class_folders(root: Path) -> list[tuple[Path, int]]:
    """The folders of root that are named as a class, in any case, with their labels."""
    found = [(folder, folder.name.lower()) for folder in sorted(root.iterdir()) if folder.is_dir()]
    return [(folder, CLASSES.index(name)) for folder, name in found if name in CLASSES]


def image_files(folder: Path) -> list[Path]:
    """The files of a folder that should be images by their suffix, hidden ones excepted, in name order."""
    return _files(folder, IMAGE_SUFFIXES)


def foreign_files(folder: Path) -> list[Fault]:
    """A fault for each image of a folder in a format that is not read."""
    return [Fault(file, "not PNG, JPEG, BMP or TIFF", "ignored") for file in _files(folder, _FOREIGN_SUFFIXES)]


def attach_masks(records: Iterable[Record], masks: Iterable[Path]) -> tuple[list[Record], list[Fault]]:
    """Give each record its masks: named as the image, then NAME_mask, NAME_mask_1 ... in numeric order.

    Returns the records that have a mask or are normal, and a fault for every other record and every mask left over.
    """
    records = list(records)
    names = {name_key(record.image.stem) for record in records}
    found: dict[str, list[tuple[int, Path]]] = defaultdict(list)
    faults = []
    for mask in masks:
        parts = _MASK_STEM.fullmatch(mask.stem)
        if (name := name_key(mask.stem)) in names:
            found[name].append((-1, mask))
        elif parts and (name := name_key(parts["image"])) in names:
            found[name].append((int(parts["number"] or 0), mask))
        else:
            faults.append(Fault(mask, "mask without image", "ignored"))
    complete = []
    for record in records:
        own = tuple(mask for _, mask in sorted(found[name_key(record.image.stem)]))
        if own or record.label == NORMAL:
            complete.append(replace(record, masks=own))
        else:
            faults.append(Fault(record.image, "image without mask"))
    return complete, faults


def name_key(name: str) -> str:
    """A name for comparing: composed Unicode, since some file systems and archives store accents decomposed."""
    return unicodedata.normalize("NFC", name)


def _is_mask(file: Path) -> bool:
    return "_mask" in file.stem.lower()


def _files(folder: Path, suffixes: frozenset[str]) -> list[Path]:
    return sorted(
        file
        for file in folder.iterdir()
        if file.suffix.lower() in suffixes and not file.name.startswith(".") and file.is_file()
    )
