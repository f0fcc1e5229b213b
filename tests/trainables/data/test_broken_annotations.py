"""Annotation files that cannot be parsed are one line for the user, or one for the image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.replicas import coco, made, nnunet, yolo
from trainables.data import DataError, read_manifest
from trainables.data.examine import decode

BROKEN = [
    '{"images": [',
    "[]",
    "[1, 2]",
    '"text"',
    "null",
    "",
    "{}",
    '{"images": 1, "categories": 2, "annotations": 3}',
]


def one_line(root: Path, layout: str) -> None:
    with pytest.raises(DataError) as told:
        read_manifest(root, layout)
    assert "\n" not in str(told.value)
    assert str(root) in str(told.value)


@pytest.mark.parametrize("text", [*BROKEN, "\x00\x01"])
def test_coco(text: str, tmp_path: Path) -> None:
    coco(tmp_path, made())
    (tmp_path / "train/_annotations.coco.json").write_text(text)
    one_line(tmp_path, "coco")


@pytest.mark.parametrize(
    "text", ["- benign\n- malignant\n", "names: {a: [", "names: 3", "", "names: [a\nb: c", "\t- x: [", "{1: 2}"]
)
def test_yolo_names(text: str, tmp_path: Path) -> None:
    yolo(tmp_path, made())
    (tmp_path / "data.yaml").write_text(text)
    one_line(tmp_path, "yolo")


@pytest.mark.parametrize("text", ["benign 0.1 0.2", "-1 0.1 0.1 0.2 0.1 0.2 0.2", "0.5 1", "1e999 0 0"])
def test_yolo_classes(text: str, tmp_path: Path) -> None:
    yolo(tmp_path, made())
    next(tmp_path.glob("train/labels/*.txt")).write_text(text)
    if text.startswith("-1"):
        unknown = [record for record in read_manifest(tmp_path, "yolo").records if record.label < 0]
        assert len(unknown) == 1, "it is not the last class"
    else:
        one_line(tmp_path, "yolo")


@pytest.mark.parametrize(
    "text", [*BROKEN, '{"labels": [1, 2]}', '{"labels": {"benign": [1, 2]}}', '{"labels": {"a": Infinity}}']
)
def test_nnunet(text: str, tmp_path: Path) -> None:
    nnunet(tmp_path, made())
    (tmp_path / "Dataset501/dataset.json").write_text(text)
    with pytest.raises(DataError, match=r"dataset\.json: does not say what values of masks mean") as told:
        read_manifest(tmp_path, "nnunet")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "rings",
    [None, 3, "text", [3], [[]], [[1]], [[1, 2]], [["a", "b"]], [[float("nan")] * 6], [[1e300] * 6], {"counts": 1}],
)
def test_a_polygon_that_is_none_is_a_fault_of_its_image(rings: Any, tmp_path: Path) -> None:
    coco(tmp_path, made())
    file = tmp_path / "train/_annotations.coco.json"
    said = json.loads(file.read_text())
    said["annotations"][0]["segmentation"] = rings
    file.write_text(json.dumps(said))
    found = read_manifest(tmp_path, "coco")
    image = next(record for record in found.records if record.image.name == "1.png")
    outcome = decode(image, 16, False)
    assert not outcome.usable
    assert [fault.action for fault in outcome.faults] == ["left out with its image"]
    assert np.shape(outcome.faults) == (1,)


@pytest.mark.parametrize("text", ["0 0.1 0.2 0.3", "0 a b c d e f", "0 nan nan nan nan nan nan"])
def test_a_yolo_line_that_is_no_polygon_is_a_fault_of_its_image(text: str, tmp_path: Path) -> None:
    yolo(tmp_path, made())
    (tmp_path / "train/labels/1.txt").write_text(text)
    image = next(record for record in read_manifest(tmp_path, "yolo").records if record.image.name == "1.png")
    outcome = decode(image, 16, False)
    assert not outcome.usable
    assert [fault.action for fault in outcome.faults] == ["left out with its image"]
