from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.support.baselines import grey_threshold_dice
from trainables.data import CLASSES, DataError, is_phantom, phantom, read_manifest, write_phantom
from trainables.data.examine import decode
from trainables.data.links import near_duplicates
from trainables.data.manifest import DEFAULT_DISTANCE, TEST
from trainables.data.phantom import phantom_image
from trainables.data.splits import split

BENIGN, MALIGNANT = 1, 2


@pytest.fixture(scope="module")
def default(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantom(tmp_path_factory.mktemp("data") / "phantom")


def pixels(file: Path) -> np.ndarray:
    return np.array(Image.open(file).convert("L"))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def test_the_ordinary_reader_finds_a_complete_busi_folder(default):
    manifest = read_manifest(default)
    labels = [record.label for record in manifest.records]
    assert (manifest.layout, manifest.faults) == ("busi", ())
    assert np.bincount(labels).tolist() == [27, 90, 43]
    for record in manifest.records:
        (mask,) = record.masks
        assert pixels(mask).shape == pixels(record.image).shape
        assert set(np.unique(pixels(mask))) == ({0, 255} if CLASSES[record.label] != "normal" else {0})


def test_it_says_that_it_is_synthetic(default, tmp_path):
    assert is_phantom(default)
    assert is_phantom(default / "table.csv")
    assert "not patient data" in (default / "PHANTOM.txt").read_text()
    assert not is_phantom(tmp_path)


def test_a_seed_gives_the_same_files_and_another_seed_others(tmp_path):
    first, same, other = (
        contents(write_phantom(tmp_path / name, images=6, seed=seed)) for name, seed in (("a", 5), ("b", 5), ("c", 6))
    )
    assert first == same
    assert first.keys() == other.keys()
    images = [name for name in first if name.endswith(".png") and "_mask" not in name]
    assert len(images) == 6
    assert all(first[name] != other[name] for name in images)


def test_a_complete_folder_is_used_as_it_is_and_nothing_else_is_overwritten(tmp_path):
    folder = write_phantom(tmp_path / "phantom", images=3)
    stamps = {file: file.stat().st_mtime_ns for file in folder.rglob("*")}
    write_phantom(folder, images=3)
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*")} == stamps
    with pytest.raises(DataError, match="delete it or name another folder"):
        write_phantom(folder, images=3, seed=1)
    next(folder.glob("*/*_mask.png")).unlink()
    with pytest.raises(DataError, match="delete it or name another folder"):
        write_phantom(folder, images=3)
    assert len(list(folder.rglob("*.png"))) == 5


def test_an_interrupted_run_leaves_nothing_behind(tmp_path, monkeypatch):
    draw: Callable[..., tuple[np.ndarray, np.ndarray]] = phantom.phantom_image

    def interrupted(rng: np.random.Generator, label: int) -> tuple[np.ndarray, np.ndarray]:
        if label == MALIGNANT:
            raise KeyboardInterrupt
        return draw(rng, label)

    monkeypatch.setattr(phantom, "phantom_image", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_phantom(tmp_path / "phantom", images=6)
    assert list(tmp_path.iterdir()) == []


def test_no_two_phantom_images_are_near_duplicates(default, tmp_path):
    roots = default, write_phantom(tmp_path / "1", seed=1)
    examined = [decode(record, 16, False) for root in roots for record in read_manifest(root).records]
    assert len(examined) == 320
    assert near_duplicates(examined, DEFAULT_DISTANCE).tolist() == []


def test_a_grey_threshold_does_not_find_the_lesions(default):
    records = read_manifest(default).records
    images, masks = [pixels(r.image) for r in records], [pixels(r.masks[0]) > 0 for r in records]
    labels = np.array([record.label for record in records])
    bins = split(np.arange(len(records)), labels, [record.image.name for record in records])
    train, test = np.flatnonzero(bins != TEST), np.flatnonzero(bins == TEST)
    dice = grey_threshold_dice(
        [images[i] for i in train], [masks[i] for i in train], [images[i] for i in test], [masks[i] for i in test]
    )
    assert 0.1 < dice <= 0.45


@pytest.mark.parametrize("label", [BENIGN, MALIGNANT])
def test_lesions_carry_the_signs_of_their_class(label):
    aspects, solidities, behind = [], [], []
    for seed in range(30):
        image, mask = phantom_image(np.random.default_rng(seed), label)
        rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
        aspects.append(len(rows) / len(columns))
        (contour,), _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        solidities.append(cv2.contourArea(contour) / cv2.contourArea(cv2.convexHull(contour)))
        below = image[rows[-1] + 3 : rows[-1] + 3 + len(rows) // 2]
        middle = slice(columns[len(columns) // 4], columns[3 * len(columns) // 4])
        beside = np.r_[0 : max(columns[0] - 3, 0), min(columns[-1] + 3, image.shape[1]) : image.shape[1]]
        if below.size:
            behind.append(below[:, middle].mean() - below[:, beside].mean())
    if label == BENIGN:
        assert np.median(aspects) < 0.8
        assert np.median(solidities) > 0.95
        assert np.mean(behind) > 10
    else:
        assert np.median(aspects) > 1.1
        assert np.median(solidities) < 0.92
        assert np.mean(behind) < -10


@pytest.mark.parametrize("label", range(3))
def test_images_vary_in_size_and_have_one_lesion_unless_normal(label):
    drawn = [phantom_image(np.random.default_rng([7, i]), label) for i in range(20)]
    assert len({image.shape for image, _ in drawn}) > 15
    for image, mask in drawn:
        assert image.dtype == np.uint8
        assert mask.dtype == bool
        assert image.shape == mask.shape
        assert 160 <= image.shape[1] <= 256
        assert cv2.connectedComponents(mask.astype(np.uint8))[0] - 1 == (CLASSES[label] != "normal")
        assert CLASSES[label] == "normal" or 0.015 < mask.mean() < 0.3


def test_speckle_is_fully_developed():
    flat = np.zeros((400, 400))
    image = phantom._scan(np.random.default_rng(0), flat, flat)
    # Log-compressed Rayleigh speckle has an SD of 5.57 dB, whatever the tissue; the scanner spans 50 to 60 dB.
    assert 255 * 5.57 / 60 * 0.95 < image.std() < 255 * 5.57 / 50 * 1.05
