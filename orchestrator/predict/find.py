"""Which files are meant, and which of them cannot be images: known before anything is done."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from orchestrator.predict.results import MASKS, OVERLAYS, holds_results
from trainables.data.pixels import IMAGE_SUFFIXES, kind_problem, pixel_count
from trainables.data.words import written

#: Files that cannot be used, and why.
Unreadable = list[tuple[Path, str]]


class ImageFile(NamedTuple):
    """An image to be predicted, as the user would name it; where its PNG lies below `masks/`; pixels by its header."""

    path: Path
    png: str
    pixels: int = 0


def find_images(inputs: Sequence[Path], out: Path) -> tuple[list[ImageFile], Unreadable]:
    """The images that are meant, each once: files as given, folders searched through for images that are no masks.

    Hidden files and folders are passed over, and so are results, in `out` or of another run. Second comes what cannot
    be used, and why: files that are not there or that their first bytes tell to be no images, folders that cannot be
    read. PNGs are named by the files' paths below what is common to all inputs; where two would be called the same
    (`a.png`, `a.jpg`) the later keeps its suffix, too.
    """
    found: dict[Path, Path] = {}
    unreadable: Unreadable = []
    for given in inputs:
        for file in _below(given, os.path.realpath(out), unreadable) if given.is_dir() else [given]:
            found.setdefault(Path(os.path.abspath(file)), file)
    roots = [os.path.abspath(given if given.is_dir() else given.parent) for given in inputs]
    common, taken, images = Path(os.path.commonpath(roots)), set[str](), []
    for absolute, file in found.items():
        if cause := _problem(file):
            unreadable.append((file, cause))
            continue
        relative = absolute.relative_to(common)
        png = written(str(relative.with_suffix(".png")))
        number = 1
        while png.casefold() in taken:  # a file system may take upper and lower case for the same
            png = written(f"{relative}.png" if number == 1 else f"{relative}-{number}.png")
            number += 1
        taken.add(png.casefold())
        images.append(ImageFile(file, png, pixel_count(file)))
    return images, unreadable


def _problem(file: Path) -> str:
    """Why a file cannot be an image; "" where it may be one."""
    try:
        mode = file.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return "no such file"
    except OSError as error:
        return error.strerror or str(error)
    # A pipe would be waited for.
    return kind_problem(file) if stat.S_ISREG(mode) else "not a file"


def _below(folder: Path, out: str, unreadable: Unreadable) -> Iterator[Path]:
    def note(error: OSError) -> None:
        unreadable.append((Path(error.filename), error.strerror or str(error)))

    for place, folders, names in os.walk(folder, onerror=note):
        here = Path(place)
        results = (MASKS, OVERLAYS) if holds_results(here) else ()
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and name not in results and os.path.realpath(here / name) != out
        )
        for name in sorted(names):
            file = here / name
            if file.suffix.lower() in IMAGE_SUFFIXES and not name.startswith(".") and "_mask" not in file.stem.lower():
                yield file
