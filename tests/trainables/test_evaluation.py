"""Final evaluation: predictions at the original size, against the masks in the files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from trainables.data import DataError, Prepared, prepare, read_manifest
from trainables.data.pixels import placement
from trainables.evaluation import evaluate_at_original_size, to_original_size
from trainables.tasks.multi import MultiTask
from trainables.tasks.seg import Segmentation

#: Heights and widths of images.
SIZES = ((120, 200), (260, 140), (90, 90), (150, 220))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty images of four sizes in BUSI's layout; the first has two lesions."""
    root = tmp_path_factory.mktemp("sizes") / "Dataset_BUSI_with_GT"
    rng = np.random.default_rng(0)
    for number in range(20):
        height, width = SIZES[number % 4]
        label = ("benign", "malignant", "normal", "benign", "malignant")[number % 5]
        stem = root / label / f"{label} ({number + 1})"
        stem.parent.mkdir(parents=True, exist_ok=True)
        coarse = rng.integers(0, 255, (5, 7)).astype(np.uint8)
        Image.fromarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)).save(f"{stem}.png")
        masks = [_lesion(height, width, 0.3)] if label != "normal" else [np.zeros((height, width), np.uint8)]
        masks += [_lesion(height, width, 0.7)] * (number == 0)
        for i, mask in enumerate(masks):
            Image.fromarray(255 * mask).save(f"{stem}_mask{f'_{i}' if i else ''}.png")
    return root.parent


def _lesion(height: int, width: int, place: float) -> np.ndarray:
    mask = np.zeros((height, width), np.uint8)
    axes = max(8, width // 8), max(8, height // 9)
    return cv2.ellipse(mask, (int(place * width), int(place * height)), axes, 0, 0, 360, 1, -1)


@pytest.fixture(scope="module", params=[False, True], ids=["stretched", "letterboxed"])
def data(request: pytest.FixtureRequest, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    cache = tmp_path_factory.mktemp("cache")
    return prepare(read_manifest(folder), cache, size=64, keep_aspect=request.param, folds=2, duplicate_distance=0)


def _logits(masks: np.ndarray) -> torch.Tensor:
    """What a model that knows the prepared masks would say, softly at the edges."""
    soft = np.stack([cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 0.7) for mask in masks])
    return torch.from_numpy(soft * 8 - 4)[:, None]


def test_a_right_prediction_is_right_at_the_original_size(data: Prepared) -> None:
    rows = np.arange(len(data.images))
    logits = _logits(data.masks[rows])
    scores = evaluate_at_original_size(Segmentation(), logits, data, rows)
    assert scores["dice"] > 0.93
    assert scores["hd95"] < 3.5  # a prepared pixel is up to 4 original ones
    assert scores["fpr_normal"] == 0
    assert sum(scores[f"pixels_{name}"] for name in ("tn", "fp", "fn", "tp")) == sum(np.prod(data.sizes, axis=1))


@pytest.mark.parametrize("keep_aspect", [False, True])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_every_pixel_comes_back_to_its_place(height: int, width: int, keep_aspect: bool) -> None:
    top, left, h, w = placement(height, width, 64, keep_aspect)
    # Each prepared pixel holds the place, in the original, of its own centre.
    y = (np.arange(64) - top + 0.5) * height / h - 0.5
    x = (np.arange(64) - left + 0.5) * width / w - 0.5
    rows, columns = np.meshgrid(y.astype(np.float32), x.astype(np.float32), indexing="ij")
    inside = (slice(4, -4), slice(4, -4))  # beyond the outermost centres there is nothing to interpolate
    for plane, places in ((rows, np.arange(height)[:, None]), (columns, np.arange(width)[None])):
        original = to_original_size(plane, height, width, keep_aspect=keep_aspect)
        expected = np.broadcast_to(places, (height, width))
        np.testing.assert_allclose(original[inside], expected[inside], atol=0.1)


def test_scores_are_those_of_the_masks_in_the_files(data: Prepared) -> None:
    rows = np.flatnonzero(data.labels > 0)[:3]
    logits = torch.from_numpy(np.random.default_rng(1).normal(size=(3, 1, 64, 64)).astype(np.float32))
    scores = evaluate_at_original_size(Segmentation(), logits, data, rows)
    dices, table = [], np.zeros((2, 2), np.int64)
    for plane, row in zip(logits[:, 0].numpy(), rows, strict=True):
        truth = np.any([np.asarray(Image.open(file)) > 0 for file in data.mask_files[row]], axis=0)
        predicted = to_original_size(plane, *truth.shape, keep_aspect=data.keep_aspect) > 0
        dices.append(2 * (predicted & truth).sum() / (predicted.sum() + truth.sum()))
        np.add.at(table, (truth.astype(int), predicted.astype(int)), 1)
    assert scores["dice"] == pytest.approx(np.mean(dices))
    assert [scores[f"pixels_{name}"] for name in ("tn", "fp", "fn", "tp")] == table.ravel().tolist()


def test_predicting_nothing_costs_the_diagonal_on_lesions_and_nothing_on_normals(data: Prepared) -> None:
    rows = np.arange(len(data.images))
    scores = evaluate_at_original_size(Segmentation(), torch.full((len(rows), 1, 64, 64), -1.0), data, rows)
    lesions = data.labels > 0
    assert scores["hd95"] == pytest.approx(np.hypot(*data.sizes[lesions].T).mean())
    assert (scores["dice"], scores["dice_all"]) == (0, pytest.approx((~lesions).mean()))


def test_normals_alone_have_no_distance(data: Prepared) -> None:
    rows = np.flatnonzero(data.labels == 0)
    scores = evaluate_at_original_size(Segmentation(), torch.full((len(rows), 1, 64, 64), 1.0), data, rows)
    assert "hd95" not in scores
    assert scores["fpr_normal"] == 1
    assert scores["pixels_tp"] == 0


def test_multi_keeps_its_class_metrics_and_scores_masks_at_the_original_size(data: Prepared) -> None:
    rows = np.arange(len(data.images))
    classes = torch.from_numpy(np.eye(3, dtype=np.float32)[data.labels] * 4)
    scores = evaluate_at_original_size(MultiTask(3), (_logits(data.masks[rows]), classes), data, rows)
    assert scores["accuracy"] == scores["auroc"] == 1
    assert scores["score"] == pytest.approx((scores["dice"] + 1) / 2)
    assert scores["miou"] > 0.85
    assert scores["map_box50"] > 0.99
    assert {"hd95", "pixels_tp", "map_box"} <= set(scores)


def test_images_without_a_known_mask_count_for_the_classes_alone(data: Prepared) -> None:
    rows = np.arange(len(data.images))
    lesions = data.labels > 0
    unknown = replace(data, has_mask=lesions)
    outputs = torch.ones(len(rows), 1, 64, 64), torch.from_numpy(np.eye(3, dtype=np.float32)[data.labels])
    scores = evaluate_at_original_size(MultiTask(3), outputs, unknown, rows)
    assert "fpr_normal" not in scores
    assert scores["accuracy"] == 1
    assert scores["pixels_tp"] + scores["pixels_fp"] == sum(np.prod(data.sizes[lesions], axis=1))


def test_a_mask_that_is_gone_is_named(data: Prepared, tmp_path: Path) -> None:
    lost = replace(data, mask_files=((str(tmp_path / "lost.png"),), *data.mask_files[1:]))
    with pytest.raises(DataError, match=r"lost\.png: cannot be opened"):
        evaluate_at_original_size(Segmentation(), torch.zeros(1, 1, 64, 64), lost, np.array([0]))
