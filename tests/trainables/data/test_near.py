"""Near-duplicates between two sets of images, and hashes that were remembered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from trainables.data import preparation, prepare, read_manifest
from trainables.data.duplicates import cluster, near
from trainables.data.pixels import read_image
from trainables.data.preparation import image_hashes


def test_near_links_what_cluster_links_whichever_set_holds_the_crop() -> None:
    rng = np.random.default_rng(0)
    known = rng.integers(0, 256, (70, 128), np.uint8)
    new = rng.integers(0, 256, (70, 128), np.uint8)
    new[3, :32] = known[66, 96:]  # the whole of the new one is a crop of the known one
    new[68, 64:96] = known[1, :32]  # a crop of the new one is the whole of the known one
    new[5, 32:64] = known[9, 32:64]  # two crops alike link nothing
    found = near(new, known, 50)
    assert np.flatnonzero(found).tolist() == [3, 68]
    together = cluster(np.concatenate([new, known]), 50)
    assert np.flatnonzero(np.isin(together[:70], together[70:])).tolist() == [3, 68]


@pytest.mark.parametrize(("flipped", "expected"), [(50, True), (51, False)])
def test_near_counts_bits(flipped: int, expected: bool) -> None:
    one = np.zeros((1, 128), np.uint8)
    bits = np.zeros(256, np.uint8)
    bits[:flipped] = 1
    other = np.full((1, 128), 255, np.uint8)
    other[0, :32] = np.packbits(bits)
    assert near(one, other, 50).tolist() == [expected]


def test_hashes_are_remembered_and_read_again_where_they_are_not(
    phantom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = prepare(read_manifest(phantom), tmp_path, size=64)
    rows = np.array([5, 0, 17])
    read: list[Path] = []

    def reading(file: Path) -> np.ndarray:
        read.append(file)
        return read_image(file)

    monkeypatch.setattr(preparation, "read_image", reading)
    remembered = image_hashes(data, tmp_path, rows)
    assert read == []
    again = image_hashes(data, tmp_path / "nothing", rows)
    assert read == [Path(data.files[row]) for row in rows.tolist()]
    np.testing.assert_array_equal(remembered, again)
    assert remembered.shape == (3, 128)
