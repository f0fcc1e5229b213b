"""Public data sets as they are distributed, made small: what a reader must find in each."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support import replicas
from tests.support.replicas import ALL, LESIONS, Item, busi, made, save, split_folders
from trainables.data import CLASSES, DataError, Manifest, read_manifest
from trainables.data.examine import decode


@pytest.fixture(scope="module")
def items() -> list[Item]:
    return made()


Build = Callable[[Path, list[Item]], None]


@pytest.mark.parametrize(
    ("build", "layout", "labels", "patients"),
    [
        (replicas.busi, "busi", ALL, 0),
        (replicas.busi_by_class, "class-folders", ALL, 0),
        (replicas.class_words, "busi", ALL, 0),
        (replicas.split_folders, "split-classes", ALL, 0),
        (replicas.bus_uc, "class-folders", LESIONS, 0),
        (replicas.bus_uclm, "bus-uclm", ALL, 5),
        (replicas.bus_bra, "bus-bra", LESIONS, 4),
        (replicas.other_columns, "folders", LESIONS, 4),
        (replicas.buid, "buid", LESIONS, 0),
        (replicas.stu, "stu", {}, 0),
        (replicas.index_masks, "folders", {}, 0),
        (replicas.breast, "breast", ALL, 10),
        (replicas.coco, "coco", LESIONS, 0),
        (replicas.yolo, "yolo", LESIONS, 0),
        (replicas.nnunet, "nnunet", LESIONS, 0),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_each_is_recognised_and_read_whole(
    build: Build, layout: str, labels: dict[str, int], patients: int, items: list[Item], tmp_path: Path
) -> None:
    build(tmp_path, items)
    found = read_manifest(tmp_path)
    assert (found.layout, found.left_over, found.faults) == (layout, 0, ())
    assert Counter(CLASSES[record.label] for record in found.records if record.label >= 0) == labels
    assert len({record.patient for record in found.records} - {""}) == patients
    assert len(found.records) == (sum(labels.values()) or 8)
    for record, item in pairs(found, items):
        outcome = decode(record, 32, keep_aspect=False)
        assert outcome.usable, outcome.faults
        assert outcome.masks is not None
        share = outcome.masks.any(0).mean() if len(outcome.masks) else 0.0
        assert share == pytest.approx((item.mask > 0).mean(), abs=0.03), "no lesion pixel is lost"


def pairs(found: Manifest, items: list[Item]) -> Iterator[tuple[Any, Item]]:
    """Each record with the item whose image it shows."""
    by_image = {item.image.tobytes(): item for item in items}
    for record in found.records:
        yield record, by_image[np.array(Image.open(record.image).convert("L")).tobytes()]


def test_a_given_split_is_honoured(items: list[Item], tmp_path: Path) -> None:
    split_folders(tmp_path, items)
    found = Counter(record.split for record in read_manifest(tmp_path).records)
    assert found == {"train": 5, "validation": 3, "test": 2}


def test_what_no_rule_reads_is_named_and_refused(items: list[Item], tmp_path: Path) -> None:
    busi(tmp_path, items)
    root = tmp_path / "Dataset_BUSI_with_GT"
    for item in items[:3]:
        save(item.image, root / "benign" / "batch 2" / f"{item.number}.png")
    with pytest.raises(DataError, match=r"3 of 23 images would be left over by layout busi .*benign/batch 2: \*.png 3"):
        read_manifest(tmp_path)
    found = read_manifest(tmp_path, "busi")
    assert found.left_over == 3
    assert [str(fault).removeprefix(f"{root}/") for fault in found.faults] == [
        "benign/batch 2: 3 images that no rule of the layout reads; left over"
    ]


def test_what_cannot_be_read_is_a_line_and_stops_nothing(items: list[Item], tmp_path: Path) -> None:
    busi(tmp_path, items)
    folder = tmp_path / "Dataset_BUSI_with_GT/benign"
    (folder / "gone.png").symlink_to(folder / "not there.png")
    os.mkfifo(folder / "pipe.png")
    (folder / "back").symlink_to(folder.parent)
    (tmp_path / "lost+found").mkdir()
    save(items[0].image, tmp_path / "runs/night/pictures/predictions.png")
    found = read_manifest(tmp_path)
    assert len(found.records) == len(items)
    assert [(fault.file.name, fault.problem) for fault in found.faults] == [
        ("gone.png", "a link to nothing"),
        ("pipe.png", "neither a file nor a link to one"),
    ]


def test_names_that_differ_in_case_and_pictures_in_two_formats_keep_their_masks(
    items: list[Item], tmp_path: Path
) -> None:
    for name, item in (("scan A", items[0]), ("scan a", items[1])):
        save(item.image, tmp_path / f"images/{name}.png")
        save(item.mask, tmp_path / f"masks/{name}.png")
    save(items[2].image, tmp_path / "images/two.png")
    save(items[2].image, tmp_path / "images/two.bmp")
    save(items[2].mask, tmp_path / "masks/two.png")
    found = {record.image.name: [mask.name for mask in record.masks] for record in read_manifest(tmp_path).records}
    assert found == {
        "scan A.png": ["scan A.png"],
        "scan a.png": ["scan a.png"],
        "two.bmp": ["two.png"],
        "two.png": ["two.png"],
    }
