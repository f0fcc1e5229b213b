"""Files in, files out: masks and overlays, made while the networks work."""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from orchestrator.common.console import threads
from orchestrator.inference.prediction import UNUSABLE, Row
from orchestrator.inference.predictor import BATCH, Outputs, Predictor
from orchestrator.predict.find import ImageFile, Unreadable
from orchestrator.predict.overlay import draw_overlay
from orchestrator.predict.results import MASKS, OVERLAYS
from trainables.data.pixel_budget import PIXELS, within_budget
from trainables.data.pixels import UnreadableError, read_image


@dataclass
class Report:
    """What became of the files: rows of the table, what could not be read and why, how many were trained on."""

    rows: list[Row] = field(default_factory=list)
    unreadable: Unreadable = field(default_factory=list)
    trained_on: int = 0

    def unusable(self) -> Unreadable:
        """Images that the model failed on; their rows say nothing."""
        return [(Path(str(row["file"])), UNUSABLE) for row in self.rows if row["uncertainty"] is None]


class _Decoded(NamedTuple):
    image: np.ndarray
    digest: str


def predict_files(
    ensemble: Predictor,
    images: Sequence[ImageFile],
    out: Path,
    *,
    overlays: bool,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """Predict images and write masks and overlays into `out`; what cannot be read is left out.

    Args:
        ensemble: predicts. images: files. out: a folder. overlays: whether to draw them, for tasks with masks.
        progress: called as (done, total) when an image's files are written, or it cannot be read; by any thread, one
            at a time.

    Raises:
        OSError: something cannot be written.
    """
    report, trained_on = Report(), set(ensemble.description.trained_on)
    done, one_at_a_time = 0, threading.Lock()

    def advance(_: object = None) -> None:
        nonlocal done
        with one_at_a_time:
            done += 1
            progress(done, len(images))

    waiting, rows = deque(images), deque[Future[Row]]()
    decoding: deque[tuple[ImageFile, Future[_Decoded | str]]] = deque()
    with ThreadPoolExecutor(threads()) as pool:
        while True:
            batch: list[tuple[ImageFile, np.ndarray]] = []
            while len(batch) < BATCH and _pixels(batch) < PIXELS:
                while waiting and len(decoding) < 2 * BATCH and _pixels(decoding) < PIXELS:
                    decoding.append((waiting[0], pool.submit(decode, waiting.popleft())))
                if not decoding:
                    break
                image, future = decoding.popleft()
                decoded = future.result()
                if isinstance(decoded, str):
                    report.unreadable.append((image.path, decoded))
                    advance()
                else:
                    report.trained_on += decoded.digest in trained_on
                    batch.append((image, decoded.image))
            if not batch:
                break
            if ensemble.device.type == "cpu" or _pixels(batch) >= PIXELS:
                # The networks take every core: a thread that competes with theirs would slow both down. And of large
                # images, no more may wait to be finished.
                running: list[Future[Any]] = [*rows, *(future for _, future in decoding)]
                wait(running)
            outputs = ensemble.forward([pixels for _, pixels in batch])
            for (image, pixels), one in zip(batch, outputs, strict=True):
                rows.append(pool.submit(finish, ensemble, image, pixels, one, out, overlays))
                rows[-1].add_done_callback(advance)
            while len(rows) > 2 * BATCH:
                report.rows.append(rows.popleft().result())
        report.rows += [row.result() for row in rows]
    return report


def _pixels(some: Iterable[tuple[ImageFile, object]]) -> int:
    return sum(image.pixels for image, _ in some)


def decode(image: ImageFile) -> _Decoded | str:
    """An image's pixels, uint8 [H,W], and its digest; or why it cannot be read."""
    try:
        pixels = read_image(image.path)
        with image.path.open("rb") as file:
            return _Decoded(pixels, hashlib.file_digest(file, "sha256").hexdigest()[:16])
    except (UnreadableError, OSError) as error:
        return getattr(error, "strerror", None) or str(error)


@within_budget()
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


def _write(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
