"""A small grey picture of each image: what near-duplicates are looked for and compared with, and where it is kept."""

from __future__ import annotations

import os
import shutil
import tempfile
import zlib
from hashlib import sha256
from pathlib import Path
from typing import IO

import cv2
import numpy as np

from trainables import unfinished

#: Pixels a side. Of 96, strangers and copies of BUSI are no further apart, and aligning takes twice the time.
SIDE = 64
#: Grey level up to which a border is black, share of its pixels that may be brighter, and the most that is cut off.
BLACK, BRIGHTER, MOST = 10, 0.05, 0.25
#: How a picture is kept: what it is of, by sha256; its pixels; their CRC-32.
RECORD = np.dtype([("key", "u1", 32), ("picture", "u1", (SIDE, SIDE)), ("check", "<u4")])


def small_picture(image: np.ndarray) -> np.ndarray:
    """A grey image of any size, stretched: uint8 [H,W] -> uint8 [64,64]."""
    return cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def trimmed(picture: np.ndarray) -> np.ndarray:
    """A picture without its black borders, at its old size, uint8 [64,64]."""
    bright = picture > BLACK
    (top, bottom), (left, right) = _extent(bright.mean(axis=1)), _extent(bright.mean(axis=0))
    if (top, left, bottom, right) == (0, 0, SIDE, SIDE):
        return picture
    return cv2.resize(picture[top:bottom, left:right], (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)


def texture(picture: np.ndarray, sigma: float) -> np.ndarray:
    """Grey less its local mean over its local SD, with a Gaussian window of `sigma` pixels: float32 [H,W].

    What makes strangers alike, dark depths and bright skin, is gone. 4 grey levels keep noise from being texture.
    """
    grey = picture.astype(np.float32)
    grey -= cv2.GaussianBlur(grey, (0, 0), sigma)
    grey /= np.sqrt(cv2.GaussianBlur(grey * grey, (0, 0), sigma)) + 4
    return grey


def _extent(bright: np.ndarray) -> tuple[int, int]:
    """First and last + 1 line that is not black, of a share of bright pixels for each line."""
    lines = np.flatnonzero(bright > BRIGHTER)
    if not len(lines):
        return 0, SIDE
    most = int(MOST * SIDE)
    return min(int(lines[0]), most), max(int(lines[-1]) + 1, SIDE - most)


class PictureFile:
    """Pictures by key, in one file of records. What is new goes to a file beside it at once, and not into memory."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._part: IO[bytes] | None = None
        self._open()

    def _open(self) -> None:
        """Map what is there; a file that was cut short counts up to there."""
        try:
            count = self._file.stat().st_size // RECORD.itemsize
            self._records = np.memmap(self._file, RECORD, "r", shape=count) if count else np.zeros(0, RECORD)
        except OSError:
            self._records = np.zeros(0, RECORD)
        self._places = {key.tobytes(): place for place, key in enumerate(self._records["key"])}

    def get(self, key: str) -> np.ndarray | None:
        """The picture, uint8 [64,64], mapped; None where there is none, or not as it was written."""
        place = self._places.get(sha256(key.encode(errors="surrogatepass")).digest())
        if place is None:
            return None
        picture: np.ndarray = self._records["picture"][place]
        return picture if zlib.crc32(picture.tobytes()) == self._records["check"][place] else None

    def put(self, key: str, picture: np.ndarray) -> None:
        """Keep a picture, unless it is there; `get` knows it after `save`."""
        if self.get(key) is not None:
            return
        if self._part is None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._part = tempfile.TemporaryFile(dir=self._file.parent)  # noqa: SIM115 (closed by save)
        record = np.zeros((), RECORD)
        record["key"] = np.frombuffer(sha256(key.encode(errors="surrogatepass")).digest(), np.uint8)
        record["picture"], record["check"] = picture, zlib.crc32(picture.tobytes())
        self._part.write(record.tobytes())

    def save(self) -> None:
        """Let what is new follow what was there, under a temporary name, then rename."""
        if self._part is None:
            return
        with unfinished.beside(self._file) as part:
            with part.open("w+b") as whole:
                try:
                    with self._file.open("rb") as old:
                        shutil.copyfileobj(old, whole)
                    whole.truncate(len(self._records) * RECORD.itemsize)
                    whole.seek(0, os.SEEK_END)
                except OSError:
                    whole.seek(0)
                    whole.truncate()
                self._part.seek(0)
                shutil.copyfileobj(self._part, whole)
            self._part.close()
            self._part = None
            os.replace(part, self._file)
        self._open()
