"""Files in, files out: which images are meant; masks, overlays and a table, made while the networks work."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import os
import shutil
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from orchestrator.common.console import threads
from orchestrator.common.errors import UserError
from orchestrator.inference.prediction import COLUMNS, Row
from orchestrator.inference.predictor import BATCH, Outputs, Predictor
from orchestrator.predict.overlay import draw_overlay
from trainables.data.pixels import IMAGE_SUFFIXES, UnreadableError, read_image

TABLE, MASKS, OVERLAYS = "predictions.csv", "masks", "overlays"
#: An empty file by which a folder is known to hold results, be they not complete.
MARK = ".predictions"


class ImageFile(NamedTuple):
    """An image to be predicted, as the user would name it, and where its PNG lies below `masks/` and `overlays/`."""

    path: Path
    png: str


@dataclass
class Report:
    """What became of the files: rows of the table, what could not be read and why, how many were trained on."""

    rows: list[Row] = field(default_factory=list)
    unreadable: list[tuple[Path, str]] = field(default_factory=list)
    trained_on: int = 0


class _Decoded(NamedTuple):
    image: np.ndarray
    digest: str


def find_images(inputs: Sequence[Path], out: Path) -> tuple[list[ImageFile], list[tuple[Path, str]]]:
    """The images that are meant, each once: files as given, folders searched through for images that are no masks.

    Hidden files and folders are passed over, and so are results, in `out` or of another run; folders that cannot be
    read come second, with the reason. PNGs are named by the files' paths below
    what is common to all inputs; where two would be called the same (`a.png`, `a.jpg`) the later keeps its suffix, too.
    """
    found: dict[Path, Path] = {}
    unreadable: list[tuple[Path, str]] = []
    for given in inputs:
        for file in _below(given, os.path.realpath(out), unreadable) if given.is_dir() else [given]:
            found.setdefault(Path(os.path.abspath(file)), file)
    roots = [os.path.abspath(given if given.is_dir() else given.parent) for given in inputs]
    common, taken, images = Path(os.path.commonpath(roots)), set[str](), []
    for absolute, file in found.items():
        relative = absolute.relative_to(common)
        png = str(relative.with_suffix(".png"))
        number = 1
        while png.casefold() in taken:  # a file system may take upper and lower case for the same
            png = f"{relative}.png" if number == 1 else f"{relative}-{number}.png"
            number += 1
        taken.add(png.casefold())
        images.append(ImageFile(file, png))
    return images, unreadable


def predict_files(ensemble: Predictor, images: Sequence[ImageFile], out: Path, *, overlays: bool) -> Report:
    """Predict images and write masks, overlays and `predictions.csv` into `out`; what cannot be read is left out.

    Every file has another name until it is complete. The table comes last, and only where an image could be read.

    Args:
        ensemble: predicts. images: files. out: made if absent. overlays: whether to draw them, for tasks with masks.

    Raises:
        OSError: something cannot be written.
    """
    report, trained_on = Report(), set(ensemble.description.trained_on)
    waiting, rows = iter(images), deque[Future[Row]]()
    decoding: deque[tuple[ImageFile, Future[_Decoded | str]]] = deque()
    with ThreadPoolExecutor(threads()) as pool:
        while True:
            batch: list[tuple[ImageFile, np.ndarray]] = []
            while len(batch) < BATCH:
                decoding += [(one, pool.submit(decode, one)) for one in islice(waiting, 2 * BATCH - len(decoding))]
                if not decoding:
                    break
                image, future = decoding.popleft()
                decoded = future.result()
                if isinstance(decoded, str):
                    report.unreadable.append((image.path, decoded))
                else:
                    report.trained_on += decoded.digest in trained_on
                    batch.append((image, decoded.image))
            if not batch:
                break
            if ensemble.device.type == "cpu":
                # The networks take every core: a thread that competes with theirs would slow both down.
                running: list[Future[Any]] = [*rows, *(future for _, future in decoding)]
                wait(running)
            outputs = ensemble.forward([pixels for _, pixels in batch])
            for (image, pixels), one in zip(batch, outputs, strict=True):
                rows.append(pool.submit(finish, ensemble, image, pixels, one, out, overlays))
            while len(rows) > 2 * BATCH:
                report.rows.append(rows.popleft().result())
        report.rows += [row.result() for row in rows]
    if report.rows:
        write_table(out / TABLE, report.rows)
    (out / MARK).unlink(missing_ok=True)  # the table says whose they are
    if not report.rows:
        with contextlib.suppress(OSError):  # other things lie there
            out.rmdir()
    return report


def decode(image: ImageFile) -> _Decoded | str:
    """An image's pixels, uint8 [H,W], and its digest; or why it cannot be read."""
    try:
        pixels = read_image(image.path)
        with image.path.open("rb") as file:
            return _Decoded(pixels, hashlib.file_digest(file, "sha256").hexdigest()[:16])
    except (UnreadableError, OSError) as error:
        return getattr(error, "strerror", None) or str(error)


def finish(
    ensemble: Predictor, image: ImageFile, pixels: np.ndarray, outputs: Outputs, out: Path, overlays: bool
) -> Row:
    """Write an image's mask and overlay; its row of the table."""
    prediction = ensemble.finish(pixels, outputs)
    png = prediction.mask_png()
    if png is not None:
        _write(out / MASKS / image.png, png)
        if overlays:
            drawn = draw_overlay(pixels, prediction, synthetic=ensemble.description.synthetic)
            _write(out / OVERLAYS / image.png, drawn)
    return {"file": str(image.path), **prediction.row(), "mask": "" if png is None else f"{MASKS}/{image.png}"}


def write_table(file: Path, rows: Sequence[Row]) -> None:
    """Rows as CSV: text is quoted, numbers are not, what is unknown is empty."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.part")
    # surrogateescape: a file's name need not be UTF-8.
    with part.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
        table = csv.DictWriter(stream, ["file", *COLUMNS, "mask"], quoting=csv.QUOTE_NONNUMERIC)
        table.writeheader()
        table.writerows(rows)
    part.replace(file)


def make_room(out: Path, images: Sequence[ImageFile]) -> None:
    """Have `out` hold results of this run alone: those of an earlier one are deleted, anything else is left alone.

    Raises:
        UserError: folders for results are there and are not ours, or an image is among the results.
    """
    theirs = [name for name in (MASKS, OVERLAYS) if (out / name).exists()]
    if theirs and not _is_ours(out):
        raise UserError(f"--out {out}: its folder {theirs[0]} was not made by this command; name another folder")
    for image in images:
        below = Path(os.path.realpath(image.path))
        if any(below.is_relative_to(os.path.realpath(out / name)) for name in theirs):
            raise UserError(f"{image.path}: it is a result in --out {out}, which is written anew; name another folder")
    out.mkdir(parents=True, exist_ok=True)
    (out / MARK).touch()
    for name in theirs:
        shutil.rmtree(out / name)
    (out / TABLE).unlink(missing_ok=True)


def _is_ours(folder: Path) -> bool:
    """Whether results were written there, or begun to be."""
    return (folder / MARK).is_file() or (folder / TABLE).is_file()


def _below(folder: Path, out: str, unreadable: list[tuple[Path, str]]) -> Iterator[Path]:
    def note(error: OSError) -> None:
        unreadable.append((Path(error.filename), error.strerror or str(error)))

    for place, folders, names in os.walk(folder, onerror=note):
        here = Path(place)
        results = (MASKS, OVERLAYS) if _is_ours(here) else ()
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and name not in results and os.path.realpath(here / name) != out
        )
        for name in sorted(names):
            file = here / name
            if file.suffix.lower() in IMAGE_SUFFIXES and not name.startswith(".") and "_mask" not in file.stem.lower():
                yield file


def _write(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{hashlib.sha256(os.fsencode(file.name)).hexdigest()[:16]}.part")
    part.write_bytes(content)
    part.replace(file)
