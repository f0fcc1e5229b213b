from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix
from torchmetrics.functional.classification import binary_jaccard_index
from torchmetrics.functional.segmentation import dice_score

from trainables.metrics.seg import SegmentationMetrics, confusion_counts, hd95, pixel_confusion, segmentation_scores


def _numpy_scores(predicted: np.ndarray, target: np.ndarray) -> dict[str, float]:
    dice, iou, dice_all, alarms = [], [], [], []
    for p, t in zip(predicted.astype(bool), target.astype(bool), strict=True):
        if t.any():
            dice.append(2 * (p & t).sum() / (p.sum() + t.sum()))
            iou.append((p & t).sum() / (p | t).sum())
            dice_all.append(dice[-1])
        else:
            alarms.append(float(p.any()))
            dice_all.append(1.0 - alarms[-1])
    named = {"dice": dice, "iou": iou, "dice_all": dice_all, "fpr_normal": alarms}
    return {name: float(np.mean(values)) for name, values in named.items() if values}


def _masks(seed: int, images: int, density: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    empty = rng.random((2, images, 1, 1, 1)) < 0.3
    return tuple((rng.random((2, images, 1, 9, 7)) < density) & ~empty)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), images=st.integers(1, 8), density=st.sampled_from([0.02, 0.3, 0.9]))
def test_scores_agree_with_numpy(seed: int, images: int, density: float) -> None:
    predicted, target = _masks(seed, images, density)
    counts = confusion_counts(torch.from_numpy(predicted), torch.from_numpy(target))
    assert counts.dtype == torch.int64
    assert segmentation_scores(counts) == pytest.approx(_numpy_scores(predicted, target))


def test_scores_agree_with_torchmetrics_on_lesions() -> None:
    predicted, target = (torch.from_numpy(m) for m in _masks(0, 40, 0.3))
    lesions = target.flatten(1).any(1)
    predicted, target = predicted[lesions].long(), target[lesions].long()
    scores = segmentation_scores(confusion_counts(predicted, target))
    dice = dice_score(predicted, target, num_classes=1, input_format="one-hot")
    iou = [binary_jaccard_index(p, t) for p, t in zip(predicted, target, strict=True)]
    assert scores["dice"] == pytest.approx(dice.mean().item(), rel=1e-5)
    assert scores["iou"] == pytest.approx(torch.stack(iou).mean().item(), rel=1e-5)


def test_predicting_nothing_scores_zero_on_lesions_and_one_on_normals() -> None:
    target = torch.zeros(4, 1, 8, 8, dtype=torch.uint8)
    target[:3, :, 2:5, 2:5] = 1
    scores = segmentation_scores(confusion_counts(torch.full((4, 1, 8, 8), -1.0), target))
    assert scores == {"dice": 0.0, "iou": 0.0, "dice_all": 0.25, "fpr_normal": 0.0}


def test_one_false_pixel_on_a_normal_is_a_false_alarm() -> None:
    logits = torch.full((2, 1, 8, 8), -3.0)
    logits[0, 0, 0, 0] = 0.1
    scores = segmentation_scores(confusion_counts(logits, torch.zeros(2, 1, 8, 8)))
    assert scores == {"dice_all": 0.5, "fpr_normal": 0.5}


def test_without_normals_there_is_no_false_alarm_rate() -> None:
    target = torch.ones(2, 1, 4, 4)
    scores = segmentation_scores(confusion_counts(torch.ones(2, 1, 4, 4), target))
    assert scores == {"dice": 1.0, "iou": 1.0, "dice_all": 1.0}


def test_logits_are_cut_at_probability_one_half() -> None:
    logits = torch.tensor([-0.01, 0.0, 0.01]).reshape(1, 1, 1, 3)
    assert confusion_counts(logits, torch.ones(1, 1, 1, 3)).tolist() == [[1, 0, 2]]


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def test_the_metric_is_the_same_in_any_batches_and_after_a_reset(device: str) -> None:
    predicted, target = (torch.from_numpy(m).to(device) for m in _masks(1, 11, 0.3))
    whole = segmentation_scores(confusion_counts(predicted, target))
    metrics = SegmentationMetrics().to(device)
    for _ in range(2):
        for start in (0, 4, 8):
            metrics.update(predicted[start : start + 4], target[start : start + 4])
        assert metrics.compute() == whole
        metrics.reset()


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_nothing_seen_is_no_score() -> None:
    assert SegmentationMetrics().compute() == {}


def test_images_of_different_sizes_are_scored_together() -> None:
    metrics = SegmentationMetrics()
    metrics.update(torch.ones(1, 1, 4, 4), torch.ones(1, 1, 4, 4))
    metrics.update(-torch.ones(1, 1, 6, 9), torch.ones(1, 1, 6, 9))
    assert metrics.compute()["dice"] == 0.5


def _brute_force_hd95(one: np.ndarray, other: np.ndarray) -> float:
    """From the definition: every outline pixel against every other."""

    def outline(mask: np.ndarray) -> np.ndarray:
        padded = np.pad(mask, 1)
        around = [padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]]
        return np.argwhere(mask & ~np.logical_and.reduce(around))

    a, b = outline(one), outline(other)
    distances = np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1))
    return max(np.percentile(distances.min(1), 95), np.percentile(distances.min(0), 95))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), density=st.sampled_from([0.05, 0.4, 0.95]))
def test_hd95_agrees_with_brute_force(seed: int, density: float) -> None:
    rng = np.random.default_rng(seed)
    one, other = rng.random((2, 17, 23)) < density
    one[3, 4] = other[11, 20] = True
    assert hd95(one, other) == pytest.approx(_brute_force_hd95(one, other), abs=1e-4)


def test_hd95_is_in_pixels_and_the_same_both_ways() -> None:
    one, other = np.zeros((2, 40, 60), bool)
    one[10:20, 10:20] = other[10:20, 17:27] = True
    assert hd95(one, other) == hd95(other, one) == 7.0
    assert hd95(one, one) == 0.0


def test_hd95_ignores_the_farthest_twentieth() -> None:
    one = np.zeros((100, 100), bool)
    one[20:60, 20:60] = True
    speck = one.copy()
    speck[99, 99] = True
    assert hd95(speck, one) < 1
    assert hd95(one & ~one, speck) == pytest.approx(np.hypot(100, 100))


def test_an_empty_mask_counts_as_the_diagonal_and_two_as_nothing() -> None:
    empty, lesion = np.zeros((2, 30, 40), bool)
    lesion[3, 3] = True
    assert hd95(empty, lesion) == hd95(lesion, empty) == 50.0
    assert hd95(empty, empty) == 0.0


def test_pixel_confusion_agrees_with_scikit_learn() -> None:
    predicted, target = _masks(5, 6, 0.3)
    counts = confusion_counts(torch.from_numpy(predicted), torch.from_numpy(target))
    confusion = pixel_confusion(counts, target.size)
    assert confusion.dtype == torch.int64
    assert confusion.tolist() == confusion_matrix(target.ravel(), predicted.ravel()).tolist()
