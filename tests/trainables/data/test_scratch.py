"""Arrays written row by row are those that would be stacked, and decoding does not run ahead of writing."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from trainables.data import Prepared, prepare, read_manifest
from trainables.data.cache import Rows, read_arrays, write_arrays
from trainables.data.preparation import ARRAYS
from trainables.data.scratch import IN_FLIGHT, Scratch, map_ahead


def test_rows_are_written_as_numpy_would_write_them(tmp_path: Path) -> None:
    whole = np.random.default_rng(0).integers(0, 256, (5, 4, 3), np.uint8)
    np.save(tmp_path / "whole.npy", whole)
    Rows(whole.shape, iter(whole)).save(tmp_path / "rows.npy")
    assert (tmp_path / "rows.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()


def test_nothing_is_left_where_writing_fails(tmp_path: Path) -> None:
    def broken() -> Iterator[np.ndarray]:
        yield np.zeros((2, 2), np.uint8)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_arrays(tmp_path / "arrays", images=Rows((2, 2, 2), broken()))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("duplicate", [False, True])
def test_scratch_gives_images_and_masks_in_the_order_that_is_asked_for(tmp_path: Path, duplicate: bool) -> None:
    rng = np.random.default_rng(0)
    images = {key: rng.integers(0, 256, (6, 6), np.uint8) for key in "abcd"}
    masks = {key: rng.integers(0, 2, (k, 6, 6), np.uint8) for key, k in zip("abcd", (0, 2, 1, 3), strict=True)}
    with Scratch(tmp_path / "cache", 6) as scratch:
        for key in "abcd":
            scratch.put(key, images[key], masks[key])
        assert "a" in scratch
        assert "e" not in scratch
        write_arrays(tmp_path / "arrays", **scratch.arrays("dbca", duplicate))
    assert list((tmp_path / "cache").iterdir()) == []
    found = read_arrays(tmp_path / "arrays", *ARRAYS)
    assert found is not None
    np.testing.assert_array_equal(found["images"], np.stack([images[key] for key in "dbca"]))
    single = [*masks["d"], *masks["b"]] if duplicate else []
    np.testing.assert_array_equal(found["masks"], np.stack([*(masks[key].any(axis=0) for key in "dbca"), *single]))
    assert found["mask_image"].tolist() == [0, 1, 2, 3, *([0, 0, 0, 1, 1] if duplicate else [])]


def test_what_is_in_flight_is_bounded() -> None:
    begun, lock = 0, threading.Lock()

    def work(item: int) -> int:
        nonlocal begun
        with lock:
            begun += 1
        return item

    with ThreadPoolExecutor(4) as pool:
        for taken, result in enumerate(map_ahead(pool, work, range(100))):
            time.sleep(0.001)
            assert result == taken
            assert begun <= taken + IN_FLIGHT + 1
    assert begun == 100


def test_a_second_launch_with_another_size_decodes_once_more(phantom: Path, tmp_path: Path) -> None:
    counts: list[list[int]] = []

    def launch(size: int) -> Prepared:
        calls: list[int] = []
        counts.append(calls)
        return prepare(read_manifest(phantom), tmp_path, size=size, progress=lambda done, total: calls.append(total))

    first = launch(32)
    again, other = launch(32), launch(48)
    n = len(first.images)
    assert [len(calls) for calls in counts] == [n, 0, n]
    np.testing.assert_array_equal(first.images, again.images)
    assert first.data_fingerprint == other.data_fingerprint
    assert not [file for file in tmp_path.iterdir() if file.suffix == ".part"]
