"""Masks of another size than their image: a fault, or resized where it is asked for and the aspect is the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from orchestrator.config.data import DataSettings
from orchestrator.config.search import SearchSettings
from tests.support import replicas
from tests.support.replicas import made
from trainables.data import prepare, read_manifest, write_phantom
from trainables.data.examine import decode

SHAPE = (48, 64)


def pair(root: Path, size: tuple[int, int]) -> Path:
    """An image of 64 x 48 with a mask of the size, width first: its left quarter is lesion."""
    lesion = np.where(np.arange(SHAPE[1])[None] < 16, 255, 0).repeat(SHAPE[0], 0).astype(np.uint8)
    for folder, picture in (
        ("images", lesion // 2 + np.arange(SHAPE[0], dtype=np.uint8)[:, None]),
        ("masks", np.array(Image.fromarray(lesion).resize(size, 0))),
    ):
        (root / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(root / folder / "a.png")
    return root


@pytest.mark.parametrize("size", [(32, 24), (128, 96), (65, 48), (256, 191)])
def test_resized_where_asked_for(tmp_path: Path, size: tuple[int, int]) -> None:
    (plain,) = read_manifest(pair(tmp_path, size)).records
    width, height = size
    assert [fault.problem for fault in decode(plain, 16, False).faults] == [
        f"mask of another size than its image ({width} x {height} pixels, its image 64 x 48)"
    ]
    (asked,) = read_manifest(tmp_path, resize_masks=True).records
    found = decode(asked, 16, False)
    assert found.faults == ()
    assert found.masks is not None
    assert found.masks.mean() == 0.25


@pytest.mark.parametrize("size", [(48, 64), (64, 51), (66, 48)])
def test_another_aspect_stays_a_fault_that_says_why(tmp_path: Path, size: tuple[int, int]) -> None:
    (asked,) = read_manifest(pair(tmp_path, size), resize_masks=True).records
    assert [fault.problem for fault in decode(asked, 16, False).faults] == [
        f"mask of another size than its image ({size[0]} x {size[1]} pixels, its image 64 x 48), and of another shape, "
        "so that it is not resized"
    ]


def test_an_entry_vouches_for_its_masks_whatever_their_aspect(tmp_path: Path) -> None:
    replicas.stu(tmp_path, made())
    assert all(decode(record, 16, False).usable for record in read_manifest(tmp_path).records)


def test_what_was_left_out_without_the_flag_is_not_remembered_with_it(tmp_path: Path) -> None:
    folder = write_phantom(tmp_path / "data", images=40, seed=3)
    mask = folder / "benign/benign (1)_mask.png"
    with Image.open(mask) as opened:
        opened.resize((opened.width // 2, opened.height // 2), 0).save(mask)
    plain = prepare(read_manifest(folder), tmp_path / "cache", size=32, folds=2)
    asked = prepare(read_manifest(folder, resize_masks=True), tmp_path / "cache", size=32, folds=2)
    again = prepare(read_manifest(folder), tmp_path / "cache", size=32, folds=2)
    assert asked.left_out == plain.left_out - 1
    assert (plain.resized_masks, asked.resized_masks) == (False, True)
    assert again.data_fingerprint == plain.data_fingerprint != asked.data_fingerprint


def test_a_setting_of_the_data_which_a_resumed_search_has_again(tmp_path: Path) -> None:
    assert not DataSettings().resize_masks
    assert SearchSettings(task="seg", resize_masks=True, storage=tmp_path).stored()["resize_masks"] is True
