"""All files below a folder: what could be an image, and what cannot be read, a line each."""

from __future__ import annotations

import os
import stat
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from trainables.data.manifest import Fault
from trainables.data.medical import is_medical
from trainables.data.patience import patiently
from trainables.data.pixels import IMAGE_SUFFIXES

#: Images in formats that are not read: said, where other files (notes, tables) are passed over in silence.
FOREIGN_SUFFIXES = frozenset({".gif", ".jp2", ".pgm", ".ppm", ".webp"})
#: Folders that systems, and this program, leave beside data.
_OTHERS = (
    *("lost+found", "__macosx", "$recycle.bin", "system volume information"),
    *("runs", "mlruns", "mlartifacts"),
)


@dataclass(frozen=True)
class Listing:
    """What lies below a folder.

    Attributes:
        root: the folder.
        images: '/'-separated relative paths of what should be images by its suffix, sorted.
        others: of all other files. What is DICOM by its content alone is among the images, where no layout reads it.
        faults: what cannot be entered or read, and images in formats that are not.
    """

    root: Path
    images: tuple[str, ...]
    others: tuple[str, ...]
    faults: tuple[Fault, ...]

    def below(self, folder: str) -> Listing:
        """What lies below one of its folders."""
        start = f"{folder}/"
        images, others = (
            tuple(path.removeprefix(start) for path in paths if path.startswith(start))
            for paths in (self.images, self.others)
        )
        inside = self.root / folder
        return Listing(inside, images, others, tuple(f for f in self.faults if f.file.is_relative_to(inside)))

    @property
    def folders(self) -> list[str]:
        """Folders directly below with files in them, sorted."""
        return sorted({path.split("/")[0] for path in (*self.images, *self.others) if "/" in path})


def list_files(root: Path) -> Listing:
    """Walk a folder. Hidden names and what does not belong to data are passed over; links are followed once."""
    images, others, faults = list[str](), list[str](), list[Fault]()
    unnamed = Counter[Path]()
    seen: set[tuple[int, int]] = set()

    def told(error: OSError) -> None:
        faults.append(Fault(Path(error.filename), f"cannot be entered ({error.strerror})", "ignored"))

    for place, folders, files in os.walk(root, followlinks=True, onerror=told):
        here = os.stat(place)
        if (here.st_dev, here.st_ino) in seen:  # a link that leads back
            folders.clear()
            continue
        seen.add((here.st_dev, here.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name.lower() not in _OTHERS)
        for name in sorted(files):
            if name.startswith("."):
                continue
            file = Path(place, name)
            path = file.relative_to(root).as_posix()
            suffix = file.suffix.lower()
            image_like = suffix in IMAGE_SUFFIXES or is_medical(file)
            if problem := _unusable(file):
                if image_like:
                    faults.append(Fault(file, problem))
            elif image_like:
                images.append(path)
                if not _is_text(name):
                    faults.append(Fault(file, "its name is not UTF-8", "used"))
            elif _is_unnamed_dicom(file):
                images.append(path)
                unnamed[file.parent] += 1
            else:
                others.append(path)
                if suffix in FOREIGN_SUFFIXES:
                    faults.append(Fault(file, "not PNG, JPEG, BMP, TIFF, DICOM or NIfTI", "ignored"))
    for folder, count in unnamed.items():
        faults.append(
            Fault(folder, f"{count} DICOM file{'s' * (count > 1)} without the suffix .dcm", "left over: rename them")
        )
    return Listing(root, tuple(sorted(images)), tuple(sorted(others)), tuple(faults))


def _unusable(file: Path) -> str:
    """Why a file cannot be an image, before it is opened: a pipe would never end."""
    try:
        mode = patiently(file.stat).st_mode
    except OSError as error:
        return "a link to nothing" if file.is_symlink() else f"cannot be read ({error.strerror})"
    return "" if stat.S_ISREG(mode) else "neither a file nor a link to one"


def _is_unnamed_dicom(file: Path) -> bool:
    """Whether a file is DICOM though its name does not say so; the index of a disc is no image."""
    if (file.suffix and not file.suffix[1:].isdigit()) or file.name.upper() == "DICOMDIR":
        return False
    try:
        with file.open("rb") as opened:
            return opened.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _is_text(name: str) -> bool:
    """Whether a name is UTF-8; bytes that are not come as surrogates."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
