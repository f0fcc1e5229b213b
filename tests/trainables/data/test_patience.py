"""Errors of a disk that pass: tried again, and never remembered of the content."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from trainables.data import prepare, read_manifest, write_phantom
from trainables.data.cache import ExaminedIndex
from trainables.data.examine import decode
from trainables.data.manifest import CLASSES, Record
from trainables.data.pixels import UnreadableError, read_image

Failing = Callable[[str, int, int], list[str]]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Failing:
    """Lets the next tries to open files of a name fail; returns what was tried. Nobody waits."""
    monkeypatch.setattr("trainables.data.patience.PAUSES", (0.0, 0.0, 0.0))
    honest = Path.open

    def fail(name: str, times: int, number: int) -> list[str]:
        tried: list[str] = []

        def opened(path: Path, *args: Any, **kwargs: Any) -> Any:
            if path.name == name:
                tried.append(name)
                if len(tried) <= times:
                    raise OSError(number, os.strerror(number), str(path))
            return honest(path, *args, **kwargs)

        monkeypatch.setattr(Path, "open", opened)
        return tried

    return fail


def image(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (24, 30), np.uint8)).save(path)
    return path


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ETIMEDOUT])
def test_tried_again(tmp_path: Path, failing: Failing, number: int) -> None:
    file = image(tmp_path / "a.png")
    sound = read_image(file)
    tried = failing("a.png", 3, number)
    np.testing.assert_array_equal(read_image(file), sound)
    assert len(tried) == 4


def test_what_does_not_pass_is_not_tried_again(tmp_path: Path, failing: Failing) -> None:
    file = image(tmp_path / "a.png")
    tried = failing("a.png", 9, errno.EACCES)
    with pytest.raises(UnreadableError, match=r"^cannot be opened \(Permission denied\)$"):
        read_image(file)
    assert len(tried) == 1


@pytest.mark.parametrize("which", ["image", "mask"])
def test_an_error_that_goes_on_is_of_this_run_alone(tmp_path: Path, failing: Failing, which: str) -> None:
    record = Record(image(tmp_path / "image.png"), (image(tmp_path / "mask.png", 1),), CLASSES.index("benign"))
    failing(f"{which}.png", 99, errno.EIO)
    found = decode(record, 16, False)
    words = {"image": "left out", "mask": "left out with its image"}[which]
    assert [str(fault).removeprefix(f"{tmp_path}/") for fault in found.faults] == [
        f"{which}.png: could not be read just now (Input/output error); {words}"
    ]
    assert (found.usable, found.passing) == (False, True)
    index = ExaminedIndex(tmp_path)
    index.put(index.key(record), record, found)
    assert index.key(record) in index
    index.save()
    failing("", 0, 0)
    assert ExaminedIndex.key(record) not in ExaminedIndex(tmp_path)


def test_the_next_run_has_the_image_again(tmp_path: Path, failing: Failing) -> None:
    folder = write_phantom(tmp_path / "data", images=40, seed=3)
    whole = prepare(read_manifest(folder), tmp_path / "other", size=32, folds=2)
    names = ("benign (1).png", "benign (2)_mask.png")
    for name in names:
        failing(name, 10**6, errno.EIO)
        less = prepare(read_manifest(folder), tmp_path / "cache", size=32, folds=2)
        assert less.left_out == whole.left_out + 1
        assert [fault.file.name for fault in less.faults if "just now" in fault.problem] == [name]
    failing("", 0, 0)
    again = prepare(read_manifest(folder), tmp_path / "cache", size=32, folds=2)
    assert again.data_fingerprint == whole.data_fingerprint


def test_a_disk_that_comes_back_gives_each_image_its_own_pixels(
    tmp_path: Path, failing: Failing, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [Record(image(tmp_path / f"{name}.png", seed), (), 1) for seed, name in enumerate("ab")]
    honest = Path.open

    def away(path: Path, *args: Any, **kwargs: Any) -> Any:
        raise OSError(errno.EIO, "Input/output error", str(path))

    monkeypatch.setattr(Path, "open", away)
    keys = [ExaminedIndex.key(record) for record in records]
    monkeypatch.setattr(Path, "open", honest)
    assert len(set(keys)) == 2
    index = ExaminedIndex(tmp_path)
    for key, record in zip(keys, records, strict=True):
        index.put(key, record, decode(record, 8, False))
    index.save()
    assert not any(key in ExaminedIndex(tmp_path) for key in keys)


def test_dicom_and_nifti_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainables.data.patience.PAUSES", (0.0,))
    for suffix, module in (("dcm", "pydicom"), ("nii", "nibabel")):
        reader = pytest.importorskip(module, reason=f"{module} is not installed")
        tried: list[Path] = []

        def away(path: Path, tried: list[Path] = tried, **kwargs: Any) -> Any:
            tried.append(path)
            raise OSError(errno.ESTALE, "Stale file handle", str(path))

        monkeypatch.setattr(reader, "dcmread" if suffix == "dcm" else "load", away)
        file = tmp_path / "benign" / f"a.{suffix}"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"something")
        with pytest.raises(UnreadableError, match=r"^could not be read just now \(Stale file handle\)$"):
            read_image(file)
        assert len(tried) == 2
    image(tmp_path / "benign" / "sound.png")
    found = read_manifest(tmp_path, "classes")
    assert [fault.problem for fault in found.faults] == ["could not be read just now (Stale file handle)"] * 2
    assert [record.image.name for record in found.records] == ["sound.png"], "nobody knows whose the others are"


def test_pauses_are_short_in_all() -> None:
    from trainables.data.patience import PAUSES

    assert list(PAUSES) == sorted(PAUSES)
    assert 1 <= sum(PAUSES) <= 2.5
