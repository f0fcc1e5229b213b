"""What is measured on images, and which differences are asserted: known answers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from orchestrator.eda.statistics import compare, ratio_interval, twins_in_training
from orchestrator.eda.survey import MEASURED, Survey, measure


def made_up(brightness: np.ndarray, labels: np.ndarray, groups: np.ndarray, parts: np.ndarray) -> Survey:
    measured = {name: np.full(len(labels), np.nan) for name in MEASURED} | {"brightness": brightness}
    return Survey(SimpleNamespace(labels=labels, groups=groups), None, parts, measured, (), len(labels))  # type: ignore[arg-type]


def test_only_a_difference_that_is_there_is_asserted() -> None:
    rng = np.random.default_rng(0)
    labels, groups = np.repeat([0, 1, 2], 60), np.arange(180)
    brightness = rng.normal(100, 10, 180) + np.where(labels == 2, 20, 0)
    parts = np.full(180, "train")
    _, comparisons = compare(made_up(brightness, labels, groups, parts))
    asserted = {(one.a, one.b): one.asserted for one in comparisons}
    assert asserted == {(0, 1): False, (0, 2): True, (1, 2): True}
    (last,) = [one for one in comparisons if (one.a, one.b) == (1, 2)]
    assert last.difference == np.median(brightness[labels == 2]) - np.median(brightness[labels == 1])


def test_test_images_and_copies_tell_nothing() -> None:
    rng = np.random.default_rng(1)
    labels, groups = np.repeat([1, 2], 40), np.arange(80)
    brightness, parts = rng.normal(100, 10, 80), np.where(np.arange(80) % 4, "train", "test")
    before = compare(made_up(brightness, labels, groups, parts))
    changed = np.where(parts == "test", 0.0, brightness)
    assert compare(made_up(changed, labels, groups, parts)) == before
    # The same images from eight groups a class are too few, however many copies there are.
    _, (few,) = compare(made_up(brightness, labels, np.arange(80) // 5, np.full(80, "train")))
    assert not few.known
    assert not few.asserted


def test_a_random_split_divides_twins() -> None:
    assert twins_in_training(range(50)) == (0.0, 0.0, 0.0)
    mean, low, high = twins_in_training(np.arange(100) // 2)
    assert mean == pytest.approx(80 / 99, abs=0.01)  # the twin of a test image is one of 99 others, 80 in training
    assert low < mean < high


def test_the_interval_of_a_share_counts_groups_and_not_copies() -> None:
    hit, whole = (np.arange(400) % 2).astype(float), np.ones(400)
    low, high = ratio_interval(hit, whole, np.arange(400))
    assert 0.44 < low < 0.5 < high < 0.56
    wide = ratio_interval(np.repeat(hit[:20], 20), whole, np.repeat(np.arange(20), 20))
    assert wide[1] - wide[0] > 3 * (high - low)


def test_measurements_of_a_known_image(tmp_path: Path) -> None:
    image, first, second = np.full((100, 200), 50, np.uint8), np.zeros((100, 200), bool), np.zeros((100, 200), bool)
    first[20:40, 50:90], second[80:90, 180:190] = True, True
    image[first] = 150
    files = [tmp_path / name for name in ("i.png", "a.png", "b.png")]
    for file, pixels in zip(files, (image, first, second), strict=True):
        Image.fromarray(pixels).save(file)
    found = dict(zip(MEASURED, measure(str(files[0]), [str(file) for file in files[1:]]), strict=True))
    assert found["brightness"] == pytest.approx(50 + 100 * 800 / 20000)
    assert found["contrast"] == pytest.approx(image.std())
    assert (found["pixels"], found["lesion_pixels"], found["masks"]) == (20000, 900, 2)
    assert (found["x"], found["y"], found["aspect"]) == pytest.approx((0.35, 0.3, 0.5))
    assert found["ring_contrast"] == pytest.approx(100)


def test_a_known_lesion_in_mm(tmp_path: Path) -> None:
    lesion = np.zeros((60, 80), np.uint8)
    lesion[10:30, 20:50] = 255
    lesion[50:53, 2:5] = 255
    for name, array in (("a", lesion // 2), ("a_mask", lesion)):
        Image.fromarray(array).save(tmp_path / f"{name}.png")
    found = dict(zip(MEASURED, measure(str(tmp_path / "a.png"), [str(tmp_path / "a_mask.png")]), strict=True))
    assert (found["largest"], found["lesion_pixels"]) == (600, 609)
    record = SimpleNamespace(image=tmp_path / "a.png", spacing_mm=0.2)
    one = Survey(
        SimpleNamespace(files=(str(tmp_path / "a.png"), "b")),  # type: ignore[arg-type]
        SimpleNamespace(records=(record,)),  # type: ignore[arg-type]
        np.array(["train", "train"]),
        {"largest": np.array([found["largest"], 9.0])},
        (),
        2,
    )
    assert one.diameters_mm[0] == pytest.approx(2 * (600 * 0.04 / np.pi) ** 0.5)
    assert np.isnan(one.diameters_mm[1]), "nobody knows its pixels"
