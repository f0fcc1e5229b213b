"""The product at run time: it predicts what its members and its combination say, and needs no training library."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy.special import log_softmax, softmax

from orchestrator.inference.combination import Combination
from orchestrator.inference.export import MemberCheckpoints, Sources, write
from orchestrator.inference.format import ModelError
from orchestrator.inference.lesion_shape import FEATURES, lesion_shape
from orchestrator.inference.prediction import Prediction, lesion_boxes
from orchestrator.inference.predictor import BATCH, Predictor
from orchestrator.inference.stack import Stack
from orchestrator.inference.triage import Triage
from tests.support.products import CONFIGS, checkpoint, give_nan, head, pictures, small_product
from trainables.data.pixels import resize_image, to_original_size
from trainables.models import build_model

TRAINING = ("ray", "optuna", "sklearn", "mlflow", "torchmetrics", "albumentations", "matplotlib", "pycocotools")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def outputs(folder: Path, image: np.ndarray, *, keep_aspect: bool = False):
    """A checkpoint's outputs for an image, straight from the network."""
    stored = json.loads((folder / "model.json").read_text())
    model = build_model(stored["task"], stored["config"], 3).eval()
    model.load_state_dict(load_file(folder / "best.safetensors"))
    square = resize_image(image, stored["image_size"], keep_aspect)
    with torch.inference_mode():
        said = model(torch.from_numpy(square)[None, None])
    return tuple(one.numpy() for one in said) if isinstance(said, tuple) else said.numpy()


def same(one: Prediction, other: Prediction, tolerance: float = 1e-4) -> bool:
    if one.mask is not None and (one.mask != other.mask).mean() > 1e-3:
        return False
    if one.probabilities is not None and np.abs(one.probabilities - other.probabilities).max() > tolerance:
        return False
    return abs(one.uncertainty - other.uncertainty) < 10 * tolerance


def test_nothing_that_trains_is_imported() -> None:
    code = "import sys, orchestrator.inference.predictor; print(*{name.split('.')[0] for name in sys.modules})"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "torch" in found
    assert not set(TRAINING) & set(found)


@pytest.mark.parametrize("keep_aspect", [False, True])
def test_masks_are_those_of_the_combination_by_hand(tmp_path: Path, keep_aspect: bool) -> None:
    """Two members of unlike sizes, one of two networks; a third without weight is not even stored."""
    first = [checkpoint(tmp_path / f"a{i}", "seg", i) for i in range(2)]
    second = [checkpoint(tmp_path / "b", "seg", 2, size=32)]
    combination = Combination("boosted", masks=head(0.7, 0.3, 0.0, temperature=1.3, threshold=0.4))
    members = [
        MemberCheckpoints(0, "a", first),
        MemberCheckpoints(1, "b", second),
        MemberCheckpoints(2, "c", [tmp_path / "absent"]),
    ]
    write(tmp_path / "out", Sources(combination, members, 96), keep_aspect=keep_aspect, synthetic=False)
    ensemble = Predictor.load(tmp_path / "out")
    for image in pictures(3):
        planes = [outputs(folder, image, keep_aspect=keep_aspect)[0, 0] for folder in first + second]
        large = [cv2.resize(plane, (96, 96), interpolation=cv2.INTER_LINEAR) for plane in planes]
        combined = (0.7 * (large[0] + large[1]) / 2 + 0.3 * large[2] / 1.5) / 1.3
        expected = to_original_size(combined, *image.shape, keep_aspect=keep_aspect) > 0.4
        found = ensemble.predict(image)
        assert 0.02 < expected.mean() < 0.98
        assert found.mask is not None
        assert found.mask.shape == image.shape
        assert (found.mask != expected).mean() < 1e-3
        np.testing.assert_allclose(found.shape, lesion_shape(expected, image), rtol=0.05, atol=0.05)
        assert found.probabilities is None
        assert found.malignant_score is None


def test_probabilities_are_those_of_the_combination_by_hand(tmp_path: Path) -> None:
    folders = [checkpoint(tmp_path / str(i), "cls", i) for i in range(3)]
    bias = (0.5, -0.75, 0.25)
    combination = Combination("boosted", classes=head(0.25, 0.0, 0.75, temperature=0.8, bias=bias))
    members = [MemberCheckpoints(0, "a", folders[:2]), MemberCheckpoints(2, "c", folders[2:])]
    points = [{"kept": "sensitivity", "rate": 0.95, "threshold": 0.0}]
    for threshold in (None, 0.3):
        points += [{"kept": "specificity", "rate": 0.9, "threshold": threshold}] if threshold else []
        where = Sources(combination, members, 64)
        write(tmp_path / "out", where, keep_aspect=False, synthetic=False, operating_points=points)
        ensemble = Predictor.load(tmp_path / "out")
        reached = []
        for image in pictures(4):
            a, b, c = (outputs(folder, image)[0] for folder in folders)
            expected = softmax((0.25 * (a + b) / 2 + 0.75 * c / 2) / 0.8 + np.array(bias))
            found = ensemble.predict(image)
            np.testing.assert_allclose(found.probabilities, expected, atol=1e-5)
            assert found.malignant_score == pytest.approx(expected[2], abs=1e-5)
            assert found.above_threshold == (None if threshold is None else expected[2] >= threshold)
            assert found.mask is None
            reached.append(found.above_threshold)
    assert set(reached) == {True, False}


def test_heads_of_a_multi_ensemble_have_their_own_members(tmp_path: Path) -> None:
    folders = [checkpoint(tmp_path / str(i), "multi", i) for i in range(2)]
    combination = Combination("greedy", classes=head(1.0, 0.0), masks=head(0.0, 1.0))
    members = [MemberCheckpoints(i, str(i), [folder]) for i, folder in enumerate(folders)]
    write(tmp_path / "out", Sources(combination, members, 64), keep_aspect=False, synthetic=False)
    image = pictures(1)[0]
    found = Predictor.load(tmp_path / "out").predict(image)
    (_, classes), (planes, _) = (outputs(folder, image) for folder in folders)
    np.testing.assert_allclose(found.probabilities, softmax(classes[0]), atol=1e-5)
    expected = to_original_size(planes[0, 0], *image.shape, keep_aspect=False) > 0
    assert found.mask is not None
    assert (found.mask != expected).mean() < 1e-3


@pytest.mark.parametrize("task", ["seg", "cls", "multi"])
def test_order_and_company_of_images_do_not_matter(tmp_path: Path, task: str) -> None:
    ensemble, images = Predictor.load(small_product(tmp_path, task)), pictures(BATCH + 3)
    together = ensemble.predict(images)
    order = np.random.default_rng(1).permutation(len(images))
    shuffled = ensemble.predict([images[i] for i in order])
    assert all(same(together[i], one) for i, one in zip(order, shuffled, strict=True))
    assert all(same(together[i], ensemble.predict(images[i])) for i in (0, 7, BATCH))
    assert together[0].uncertainty != pytest.approx(together[1].uncertainty, abs=1e-3), "images differ"
    assert ensemble.predict([]) == []


def test_mirror_images_are_averaged(tmp_path: Path) -> None:
    """With it, a mirrored image has the mirrored mask and the same classes; without it, it has not."""
    image = pictures(1)[0]
    mirrored = np.ascontiguousarray(image[:, ::-1])
    agreed = {}
    for tta in (True, False):
        ensemble = Predictor.load(small_product(tmp_path / str(tta), "multi", tta=tta))
        one, other = ensemble.predict([image, mirrored])
        assert one.mask is not None
        assert other.mask is not None
        agreed[tta] = (one.mask == other.mask[:, ::-1]).mean() > 0.995 and np.allclose(
            one.probabilities, other.probabilities, atol=1e-3
        )
    assert agreed == {True: True, False: False}


def test_a_stack_sees_the_shape_in_masks_of_its_segmentation_members(tmp_path: Path) -> None:
    classifier, segmenter = checkpoint(tmp_path / "cls", "cls", 0), checkpoint(tmp_path / "seg", "seg", 1)
    rng, size = np.random.default_rng(0), 3 + len(FEATURES)
    stack = Stack(
        members=(0,),
        temperatures=(2.0,),
        features=(*"abc", *FEATURES),
        classes=("normal", "benign", "malignant"),
        mean=(0.0,) * size,
        scale=(1.0,) * size,
        present=(0, 1, 2),
        intercepts=(0.1, 0.2, 0.3),
        coefficients=tuple(map(tuple, rng.normal(size=(3, size)).tolist())),
    )
    shape = Sources(Combination("mean", masks=head(1.0, threshold=0.5)), [MemberCheckpoints(0, "s", [segmenter])], 64)
    main = Sources(Combination("stacked", stack=stack), [MemberCheckpoints(0, "c", [classifier])], 64, shape)
    write(tmp_path / "out", main, keep_aspect=False, synthetic=False)
    ensemble = Predictor.load(tmp_path / "out")
    for image in pictures(3):
        mask = to_original_size(outputs(segmenter, image)[0, 0], *image.shape, keep_aspect=False) > 0.5
        features = np.concatenate([log_softmax(outputs(classifier, image)[0] / 2), lesion_shape(mask, image)])
        x = np.nan_to_num(features.clip(-5, 5))
        expected = softmax(x @ np.array(stack.coefficients).T + np.array(stack.intercepts))
        found = ensemble.predict(image)
        np.testing.assert_allclose(found.probabilities, expected, atol=0.02)
        np.testing.assert_allclose(found.shape, lesion_shape(mask, image), rtol=0.05, atol=0.05)
        assert found.mask is None
        assert found.row()["lesion_area"] is None
        assert found.row()["shape_area"] == pytest.approx(lesion_shape(mask, image)[1], abs=0.01)


def test_identical_networks_are_sure_and_different_ones_are_not(tmp_path: Path) -> None:
    """Whatever temperature and threshold are, members that agree have no uncertainty."""
    image, unsure = pictures(1)[0], {}
    for task in ("seg", "cls", "multi"):
        for name, seeds in {"identical": (1, 1), "different": (1, 2)}.items():
            folders = [checkpoint(tmp_path / f"{task} {name} {i}", task, seed) for i, seed in enumerate(seeds)]
            masks = None if task == "cls" else head(0.5, 0.5, temperature=0.7, threshold=0.8)
            classes = None if task == "seg" else head(0.5, 0.5, temperature=0.7, bias=(0.5, 0.0, -0.5))
            # The same temperature for both members, or they would not be calibrated alike.
            heads = [one and replace(one, temperatures=(1.5, 1.5)) for one in (classes, masks)]
            members = [MemberCheckpoints(i, str(i), [folder]) for i, folder in enumerate(folders)]
            where = Sources(Combination("mean", *heads), members, 64)
            write(tmp_path / "out", where, keep_aspect=False, synthetic=False)
            unsure[task, name] = Predictor.load(tmp_path / "out").predict(image).uncertainty
    for task in ("seg", "cls", "multi"):
        assert unsure[task, "identical"] == pytest.approx(0, abs=1e-6)
        assert 0.02 < unsure[task, "different"] <= 1


def test_boxes_are_those_of_components_the_largest_first() -> None:
    mask = np.zeros((100, 200), bool)
    mask[10:12, 5:9] = True  # 8 px: below .1 % of the image
    assert lesion_boxes(mask).tolist() == [[5, 10, 9, 12]], "the largest has a box whatever its size"
    mask[50:60, 100:103] = True
    mask[20:40, 150:190] = True
    assert lesion_boxes(mask).tolist() == [[150, 20, 190, 40], [100, 50, 103, 60]]
    assert lesion_boxes(np.zeros((4, 4), bool)).shape == (0, 4)


def test_rows_have_the_same_columns_for_every_task(tmp_path: Path) -> None:
    image = pictures(1)[0]
    rows = {t: Predictor.load(small_product(tmp_path / t, t)).predict(image).row() for t in CONFIGS}
    assert len({tuple(row) for row in rows.values()}) == 1
    assert rows["seg"]["malignant_score"] is None
    assert rows["seg"]["lesion_area"] == rows["seg"]["lesion_area"] > 0
    assert rows["multi"]["malignant_score"] == rows["multi"]["probability_malignant"]
    assert rows["cls"]["left"] is None


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: (f / "predictor.json").unlink(), "no ensemble there"),
        (lambda f: (f / "predictor.json").write_text("{"), "damaged"),
        (lambda f: (f / "predictor.json").write_text('{"format": 99}'), "format: 99"),
        (lambda f: (f / "predictor.json").write_text('{"format": 1, "task": "cls"}'), "damaged"),
        (lambda f: (f / "networks" / "00.safetensors").unlink(), "00.safetensors: cannot be loaded"),
        (lambda f: (f / "networks" / "00.safetensors").write_bytes(b"12345678"), "00.safetensors: cannot be loaded"),
    ],
)
def test_what_is_wrong_with_a_folder_is_said_in_a_line(tmp_path: Path, damage, words: str) -> None:
    folder = small_product(tmp_path, "cls", networks=1)
    (folder / "networks" / "00.safetensors").chmod(0o644)
    damage(folder)
    with pytest.raises(ModelError, match=words) as found:
        Predictor.load(folder)
    assert "\n" not in str(found.value)


def test_a_model_that_needs_a_plugin_says_which(tmp_path: Path) -> None:
    folder = small_product(tmp_path, "cls", networks=1)
    described = json.loads((folder / "predictor.json").read_text())
    assert described["plugins"] == {}
    (folder / "predictor.json").write_text(json.dumps({**described, "plugins": {"own": "0" * 64}}))
    with pytest.raises(ModelError, match=r"ensemble: it needs the plugin own: give --plugin own.py, or install its"):
        Predictor.load(folder)


def test_an_unknown_task_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="unknown task 'detect': choose from seg, cls, multi"):
        build_model("detect", {}, 3)


@pytest.mark.parametrize("task", ["cls", "multi"])
def test_triage_ships_and_is_said_of_each_image(task: str, tmp_path: Path) -> None:
    images = pictures(6)
    silent = Predictor.load(small_product(tmp_path / "silent", task)).predict(images)
    assert {one.triage for one in silent} == {one.row()["triage"] for one in silent} == {None}
    chances = [one.malignant_score for one in silent]
    low, high = np.quantile(chances, (0.3, 0.7))
    triage = Triage(rate=0.05, rule_out_below=low, rule_in_above=high, malignant_groups=40, other_groups=90)
    found = Predictor.load(small_product(tmp_path / "telling", task, triage=triage))
    assert found.description.triage == triage
    expected = ["rule out" if one < low else "rule in" if one > high else "uncertain" for one in chances]
    assert [one.row()["triage"] for one in found.predict(images)] == expected
    assert set(expected) == {"rule out", "rule in", "uncertain"}


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("task", ["seg", "cls", "multi"])
def test_after_nan_or_infinity_nothing_is_predicted(
    task: str, value: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one network of two, one logit: neither a mask without a lesion nor the other network stands for the whole."""
    point = {"kept": "specificity", "rate": 0.9, "threshold": 0.2}
    ensemble = Predictor.load(small_product(tmp_path, task, operating_points=[point]))
    images = pictures(3)
    before = ensemble.predict(images)
    give_nan(monkeypatch, lambda image: image is images[1], value)
    first, bad, last = ensemble.predict(images)
    assert set(bad.row().values()) == {None}
    assert bad.mask_png() is bad.mask_base64() is bad.malignant_score is None
    assert (first.usable, bad.usable, last.usable) == (True, False, True)
    assert same(first, before[0])
    assert same(last, before[2])
