"""What is kept on disk between runs: outcomes of examining images, and prepared arrays. Neither is trusted blindly."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trainables import stored, unfinished
from trainables.data.examine import Decoded, digest
from trainables.data.manifest import Fault, Record
from trainables.data.patience import PassingError
from trainables.data.thumbnails import PictureFile

#: Part of every name here: raise it when what is stored changes.
FORMAT = 1
#: The same of outcomes alone, which prepared arrays do not depend on: 2 reads masks of few values, 3 deeper formats, 4
#: has pictures, 5 a checksum.
EXAMINED = 5
#: What the key of files that could not be read begins with.
_PASSING = "not now:"


def content_key(digest: str, label: int, masks: int) -> str:
    """Name of an outcome: the digest of a record's files, its label and its number of masks."""
    return f"{digest}:{label}:{masks}"


class ExaminedIndex:
    """Outcomes of `decode` without their pixels, by content: a second run decodes nothing to know the groups.

    What is new is known after `save`.
    """

    def __init__(self, cache: Path) -> None:
        self._pictures = PictureFile(cache / f"pictures-{EXAMINED}.bin")
        self._file = cache / f"examined-{EXAMINED}.json"
        self._entries = self._read()
        self._changed = False
        self._of_this_run: dict[str, np.ndarray] = {}  # pictures of what is not remembered

    def _read(self) -> dict[str, dict[str, Any]]:
        """What is remembered; nothing where a byte of it has changed, so that no value need be looked at."""
        try:
            checksum, _, content = self._file.read_bytes().partition(b"\n")
        except OSError:
            return {}
        return json.loads(content) if checksum == _sha256(content) else {}

    @staticmethod
    def key(record: Record) -> str:
        """What the outcome depends on: the files' bytes, the label and the number of masks.

        Files that cannot be read now have a key of this run, which no other content meets.
        """
        resized = ":resized" * record.resized_masks + ":scaled" * record.scaled_masks
        try:
            found = digest(record)
        except PassingError:
            found = f"{_PASSING}{record.image}"
        return content_key(found, record.label, len(record.masks)) + resized

    def image_hash(self, key: str) -> np.ndarray:
        """The perceptual hash of a remembered image, uint8 [128]."""
        return np.frombuffer(bytes.fromhex(self._entries[key]["image_hash"]), np.uint8)

    def __contains__(self, key: str) -> bool:
        return key in self._entries and self._picture(key) is not None

    def _picture(self, key: str) -> np.ndarray | None:
        return self._of_this_run.get(key, self._pictures.get(key))

    def get(self, key: str, record: Record) -> Decoded:
        """The remembered outcome, its faults naming this record's files; image and masks are None."""
        entry, picture = self._entries[key], self._picture(key)
        if picture is None:
            raise KeyError(key)
        files = (record.image, *record.masks)
        faults = tuple(Fault(files[which], problem, action) for which, problem, action in entry["faults"])
        found = {**entry, "faults": faults, "image_hash": self.image_hash(key), "picture": picture}
        return Decoded(**found, image=None, masks=None)

    def put(self, key: str, record: Record, decoded: Decoded) -> None:
        """Remember an outcome; one of a passing error only for this run."""
        files = (record.image, *record.masks)
        if decoded.passing or key.startswith(_PASSING):
            self._of_this_run[key] = decoded.picture
        else:
            self._of_this_run.pop(key, None)
            self._changed = True
            self._pictures.put(key, decoded.picture)
        self._entries[key] = {
            "faults": [(files.index(fault.file), fault.problem, fault.action) for fault in decoded.faults],
            "usable": decoded.usable,
            "digest": decoded.digest,
            "image_digest": decoded.image_digest,
            "height": decoded.height,
            "width": decoded.width,
            "image_hash": bytes(decoded.image_hash).hex(),
            "passing": decoded.passing,
        }

    def save(self) -> None:
        """Write what is new, under a temporary name, then rename."""
        if not self._changed:
            return
        self._pictures.save()
        self._file.parent.mkdir(parents=True, exist_ok=True)
        kept = {key: entry for key, entry in self._entries.items() if key not in self._of_this_run}
        content = json.dumps(kept).encode()
        with unfinished.beside(self._file) as part:
            part.write_bytes(_sha256(content) + b"\n" + content)
            os.replace(part, self._file)


class Rows(NamedTuple):
    """A uint8 array that is written row by row, and never in memory as a whole.

    Attributes:
        shape: of all rows together.
        rows: uint8 each, of shape[1:].
    """

    shape: tuple[int, ...]
    rows: Iterable[np.ndarray]

    def save(self, file: Path) -> None:
        """Write what `np.save` would."""
        header = {"descr": "|u1", "fortran_order": False, "shape": self.shape}
        with file.open("wb") as stream:
            np.lib.format.write_array_header_1_0(stream, header)
            for row in self.rows:
                stream.write(row.tobytes())


def write_arrays(folder: Path, **arrays: np.ndarray | Rows) -> None:
    """Write arrays and their checksums under a temporary name, then rename; what stood there before is replaced."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with unfinished.beside(folder) as part:
        part.mkdir()
        for name, array in arrays.items():
            if isinstance(array, Rows):
                array.save(part / f"{name}.npy")
            else:
                np.save(part / f"{name}.npy", array)
        checksums = {name: _checksum(part / f"{name}.npy") for name in arrays}
        (part / "checksums.json").write_text(json.dumps(checksums))
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # another process was first, with the same content
            part.rename(folder)


def read_arrays(folder: Path, *names: str) -> dict[str, np.ndarray] | None:
    """Memory-mapped, read-only arrays; None where anything is missing, cut short or changed."""
    try:
        checksums = stored.read(folder / "checksums.json", dict[str, str])
        if any(_checksum(folder / f"{name}.npy") != checksums.get(name) for name in names):
            return None
        return {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in names}
    except (OSError, ValueError):
        return None


def _sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


def _checksum(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
