"""What a dataset holds, before a pixel is decoded: records, and the faults found so far."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

#: The one class order: labels, logits, metrics and reports all index this tuple.
CLASSES = ("normal", "benign", "malignant")
NORMAL = CLASSES.index("normal")
#: Label of an image whose class is not given.
UNKNOWN = -1
#: Split value of a test image; folds are 0, 1, 2, ...
TEST = -1


class DataError(ValueError):
    """Data that cannot be used; its message is one line for the user: what, where, what to do."""


#: What is done about a fault that costs the image; anything else is `ignored`, `used once`, `thresholded at ...`.
LEFT_OUT, LEFT_OUT_WITH_IMAGE = "left out", "left out with its image"


@dataclass(frozen=True)
class Fault:
    """One thing wrong with one file, and what was done about it: if nothing else, its image was left out."""

    file: Path
    problem: str
    action: str = LEFT_OUT

    @property
    def left_out(self) -> bool:
        """Whether the image is not used for it."""
        return self.action in (LEFT_OUT, LEFT_OUT_WITH_IMAGE)

    def __str__(self) -> str:
        return f"{self.file}: {self.problem}; {self.action}"


@dataclass(frozen=True)
class Record:
    """One image and what its layout says of it; only a table says more than image, masks, label and patient.

    Attributes:
        image: its file, absolute.
        masks: its mask files in order; none for a normal without a mask file, or where the mask is not known.
        label: index into CLASSES, or UNKNOWN.
        patient: identifier, unique within its source; "" if not known.
        source: name of the dataset it comes from; "" if not given.
        split: side of the split that is given for it, one of `splits.SIDES`; "" if none is.
        subgroups: (column, value) pairs for reports, the same columns for every record.
        resized_masks: whether its masks are its own picture at another size, perhaps stretched.
        scaled_masks: whether they may be at another size of the same aspect.
        spacing_mm: millimetres a pixel; 0 where they are not known.
    """

    image: Path
    masks: tuple[Path, ...]
    label: int
    patient: str = ""
    source: str = ""
    split: str = ""
    subgroups: tuple[tuple[str, str], ...] = ()
    resized_masks: bool = False
    spacing_mm: float = 0.0
    scaled_masks: bool = False


@dataclass(frozen=True)
class Manifest:
    """All records of a dataset in path order, its layout's name, and whether the layout has masks at all.

    root is the folder that was read, or the table itself. `left_over` images were read by no rule. `patients_from` says
    where patients are known from, in words; "" where nothing names them. `unread` are columns that may name them.
    `warnings` are lines that a user should know beside faults of single files.
    """

    root: Path
    layout: str
    has_masks: bool
    records: tuple[Record, ...]
    faults: tuple[Fault, ...]
    left_over: int = 0
    patients_from: str = ""
    unread: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @classmethod
    def ordered(
        cls, root: Path, layout: str, has_masks: bool, records: Iterable[Record], faults: Iterable[Fault]
    ) -> Manifest:
        """A manifest whose records and faults are in path order, whatever order they were found in."""
        return cls(
            root,
            layout,
            has_masks,
            tuple(sorted(records, key=lambda record: record.image.as_posix())),
            tuple(sorted(faults, key=lambda fault: (fault.file.as_posix(), fault.problem))),
        )

    def has_mask(self, record: Record) -> bool:
        """Whether the mask of a record is known: from its files, or because a normal's is empty."""
        return bool(record.masks) or (self.has_masks and record.label == NORMAL)
