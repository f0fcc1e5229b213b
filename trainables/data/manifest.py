"""What a folder of images holds, before a pixel is decoded: records, and the faults found so far."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

#: The one class order: labels, logits, metrics and reports all index this tuple.
CLASSES = ("normal", "benign", "malignant")
NORMAL = CLASSES.index("normal")
#: Label of an image whose class is not given.
UNKNOWN = -1


class DataError(ValueError):
    """Data that cannot be used; its message is one line for the user: what, where, what to do."""


@dataclass(frozen=True)
class Fault:
    """One thing wrong with one file, and what was done about it ("left out", "thresholded at 127", ...)."""

    file: Path
    problem: str
    action: str

    def __str__(self) -> str:
        return f"{self.file}: {self.problem}; {self.action}"


@dataclass(frozen=True)
class Record:
    """One image: its masks in order (none for a normal without a mask file), its label and its patient, if known."""

    image: Path
    masks: tuple[Path, ...]
    label: int
    patient: str = ""


@dataclass(frozen=True)
class Manifest:
    """All records of a dataset in name order, its layout's name, and whether the layout has masks at all."""

    root: Path
    layout: str
    has_masks: bool
    records: tuple[Record, ...]
    faults: tuple[Fault, ...]
