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
#: Greatest Hamming distance (bits of 256) at which two images count as near-duplicates: see `duplicates`.
DEFAULT_DISTANCE = 50
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
        marked: whether its dataset has masks at all: the mask of a normal without one is then empty.
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
    marked: bool = True

    @property
    def has_mask(self) -> bool:
        """Whether its mask is known: from its files, or because a normal's is empty."""
        return bool(self.masks) or (self.marked and self.label == NORMAL)


@dataclass(frozen=True)
class Manifest:
    """All records of a dataset, or of several, in path order.

    Attributes:
        root: the folder that was read, or the table itself; of several the folder that holds them all.
        layout: its name. faults: found so far.
        left_over: images that no rule read.
        patients_from: where patients are known from, in words; "" where nothing names them.
        unread: columns that may name patients. warnings: what a user should know beside faults of single files.
        parts: of several datasets each, in the order in which they were given; empty for one.
    """

    root: Path
    layout: str
    records: tuple[Record, ...]
    faults: tuple[Fault, ...]
    left_over: int = 0
    patients_from: str = ""
    unread: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    parts: tuple[Manifest, ...] = ()

    @classmethod
    def ordered(cls, root: Path, layout: str, records: Iterable[Record], faults: Iterable[Fault]) -> Manifest:
        """A manifest whose records and faults are in path order, whatever order they were found in."""
        return cls(
            root,
            layout,
            tuple(sorted(records, key=lambda record: record.image.as_posix())),
            tuple(sorted(faults, key=lambda fault: (fault.file.as_posix(), fault.problem))),
        )

    @property
    def places(self) -> str:
        """Where the datasets lie, for a person."""
        return " + ".join(str(one.root) for one in self.datasets)

    @property
    def folder(self) -> Path:
        """The folder that files are named below."""
        return self.root.parent if self.root.is_file() else self.root

    def shown(self, file: Path) -> str:
        """A file's name below `folder`, or all of it."""
        return str(file.relative_to(self.folder) if file.is_relative_to(self.folder) else file)

    @property
    def datasets(self) -> tuple[Manifest, ...]:
        """Each dataset that was read."""
        return self.parts or (self,)

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the sources of its records: in the order of the datasets, and within one sorted."""
        return tuple(
            dict.fromkeys(name for one in self.datasets for name in sorted({r.source for r in one.records}) if name)
        )
