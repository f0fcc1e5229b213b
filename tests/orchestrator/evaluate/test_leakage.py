"""External validation: no image that a model may know is scored, whatever else is wrong with the one that tells it."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from orchestrator.common.errors import UserError
from orchestrator.evaluate.leakage import COPY, NEAR, UnseenImages, fresh_images
from orchestrator.inference.description import Description
from orchestrator.inference.format import LearntFrom, read
from tests.support.evaluations import copy, images_of, mask_of
from tests.support.products import small_product
from trainables.data import read_manifest
from trainables.data.duplicates import perceptual_hash
from trainables.data.pixels import read_image


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Description:
    return read(small_product(tmp_path_factory.mktemp("multi"), "multi", networks=1))


def fresh_of(
    table: Path, described: Description, known: Path, learnt: LearntFrom | None = None, distance: int | None = None
) -> UnseenImages:
    """What is new to a model that was trained on one file (a mask: on none of the images)."""
    trained_on = (hashlib.sha256(known.read_bytes()).hexdigest()[:16],)
    model = replace(described, trained_on=trained_on)
    return fresh_images(read_manifest(table), model, learnt, lambda done, total: None, distance)


def names(fresh: UnseenImages) -> set[str]:
    return {row.record.image.name for row in fresh.rows}


def table(folder: Path, *lines: str) -> Path:
    """Of name, class and patient, with a mask each."""
    parts = [line.partition(",") for line in lines]
    rows = [f"{name}.png,{name}_mask.png,{rest}" for name, _, rest in parts]
    (folder / "all.csv").write_text("\n".join(["image,mask,label,patient", *rows]))
    return folder / "all.csv"


@pytest.mark.parametrize("what", ["sound", "damaged mask", "twin of another class"])
def test_a_copy_takes_its_patient_with_it_though_it_is_faulty(
    described: Description, phantom: Path, tmp_path: Path, what: str
) -> None:
    known, other, unrelated = images_of(phantom, "benign")[:3]
    for name, source in {"copy": known, "twin": known, "mate": other, "new": unrelated}.items():
        copy(source, tmp_path / f"{name}.png")
    if what == "damaged mask":
        (tmp_path / "copy_mask.png").write_bytes(b"junk")
    lines = ["copy,benign,P", "mate,benign,P", "new,benign,R"]
    if what == "twin of another class":
        lines.append("twin,malignant,Q")
    fresh = fresh_of(table(tmp_path, *lines), described, known)
    assert names(fresh) == {"new.png"}
    seen = {fault.file.name: fault.problem for fault in fresh.seen}
    assert seen["copy.png"] == COPY
    assert seen["mate.png"].endswith("(copy.png)")
    assert len(fresh.seen) + len(fresh.rows) == len(lines)
    assert fresh.left_out == 0, "those that are known are not counted again"
    assert len(fresh.faults) == {"sound": 0, "damaged mask": 1, "twin of another class": 2}[what]


def test_a_faulty_near_duplicate_takes_its_patient_with_it(
    described: Description, phantom: Path, tmp_path: Path
) -> None:
    known, other, unrelated = images_of(phantom, "benign")[:3]
    for name, source in {"crop": known, "mate": other, "new": unrelated}.items():
        copy(source, tmp_path / f"{name}.png")
    (tmp_path / "crop_mask.png").write_bytes(b"junk")
    learnt = LearntFrom(perceptual_hash(read_image(known))[None], 50)
    lines = table(tmp_path, "crop,benign,P", "mate,benign,P", "new,benign,R")
    fresh = fresh_of(lines, described, mask_of(known), learnt)
    assert names(fresh) == {"new.png"}
    assert [fault.problem for fault in fresh.seen if fault.file.name == "crop.png"] == [NEAR]


def test_a_mirrored_crop_of_a_training_image_is_known(described: Description, phantom: Path, tmp_path: Path) -> None:
    known, other = images_of(phantom, "benign")[:2]
    for name, source in {"changed": known, "new": other}.items():
        copy(source, tmp_path / f"{name}.png")
        image = Image.fromarray(read_image(source)).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        edge = round(image.width * 0.06), round(image.height * 0.06)
        inner = image.crop((*edge, image.width - edge[0], image.height - edge[1]))
        inner.resize(image.size).save(tmp_path / f"{name}.png")
    learnt = LearntFrom(perceptual_hash(read_image(known))[None], 50)
    fresh = fresh_of(table(tmp_path, "changed,benign,P", "new,benign,Q"), described, mask_of(known), learnt)
    assert names(fresh) == {"new.png"}
    assert [fault.problem for fault in fresh.seen] == [NEAR]


def test_a_smaller_distance_does_not_let_near_duplicates_of_training_images_through(
    described: Description, phantom: Path, tmp_path: Path
) -> None:
    known, unrelated = images_of(phantom, "benign")[:2]
    for name, source in {"near": known, "one": unrelated, "two": unrelated}.items():
        copy(source, tmp_path / f"{name}.png")
    lines = table(tmp_path, "near,benign,P", "one,benign,Q", "two,benign,R")
    learnt = LearntFrom(_flipped(perceptual_hash(read_image(known)), 30)[None], 50)
    fresh = fresh_of(lines, described, mask_of(known), learnt, distance=0)
    assert names(fresh) == {"one.png", "two.png"}
    assert (fresh.distance, fresh.known_distance) == (0, 50)
    far = LearntFrom(_flipped(perceptual_hash(read_image(known)), 60)[None], 50)
    assert "near.png" in names(fresh_of(lines, described, mask_of(known), far, distance=0))
    wider = fresh_of(lines, described, mask_of(known), far, distance=61)
    assert "near.png" not in names(wider), "a larger one is taken for training images, too"
    assert wider.known_distance == 61


def test_what_is_near_a_copy_is_known_to_a_model_without_hashes(
    described: Description, phantom: Path, tmp_path: Path
) -> None:
    known, unrelated = images_of(phantom, "benign")[:2]
    for name, source in {"copy": known, "near": known, "new": unrelated}.items():
        copy(source, tmp_path / f"{name}.png")
    with (tmp_path / "near.png").open("ab") as file:
        file.write(b"\0")  # of other bytes, and so no copy
    lines = table(tmp_path, "copy,benign,P", "near,malignant,Q", "new,benign,R")
    seen = {fault.file.name: fault.problem for fault in fresh_of(lines, described, known, distance=0).seen}
    assert seen == {"copy.png": COPY, "near.png": NEAR}


def test_where_nothing_is_left_all_are_accounted_for(described: Description, phantom: Path, tmp_path: Path) -> None:
    known, other = images_of(phantom, "benign")[:2]
    for name, source in {"copy": known, "damaged": other}.items():
        copy(source, tmp_path / f"{name}.png")
    (tmp_path / "damaged_mask.png").write_bytes(b"junk")
    with pytest.raises(UserError, match=r"1 of 2 were learnt from.*; 1 of 2 are faulty"):
        fresh_of(table(tmp_path, "copy,benign,P", "damaged,benign,Q"), described, known)


def _flipped(hashed: np.ndarray, bits: int) -> np.ndarray:
    """A hash whose windows all are so many bits away."""
    flips = np.zeros((4, 256), np.uint8)
    flips[:, :bits] = 1
    return hashed ^ np.packbits(flips)
