"""Metrics that need mask and class: pooled IoU, the score, boxes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from trainables.batches import Batch
from trainables.metrics.detection import component_boxes, detection_scores, predicted_boxes, true_boxes
from trainables.metrics.multi import MultiMetrics
from trainables.tasks.multi import MultiTask


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


# Metrics


def _images(count: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Predictions and truth of `count` images; a third are normals."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 3, count)
    masks = (rng.random((count, 1, 12, 10)) < 0.4) & (targets > 0)[:, None, None, None]
    logits = rng.normal(size=masks.shape) + 2.0 * masks - 1
    classes = rng.normal(size=(count, 3)) + np.eye(3)[targets]
    arrays = logits, classes, masks.astype(np.uint8), np.ones(count, bool), targets
    return tuple(torch.from_numpy(array) for array in arrays)


def _miou(logits: Tensor, classes: Tensor, masks: Tensor, targets: Tensor) -> float:
    """From its definition, a map of classes an image."""
    truth, predicted = [], []
    for mask, target, logit, scores in zip(masks, targets, logits, classes, strict=True):
        truth.append(np.where(mask[0] > 0, int(target), 0))
        predicted.append(np.where(logit[0] > 0, 1 + int(scores[1:].argmax()), 0))
    t, p = np.stack(truth), np.stack(predicted)
    return float(np.mean([((t == c) & (p == c)).sum() / ((t == c) | (p == c)).sum() for c in range(3)]))


@pytest.mark.parametrize("seed", range(4))
def test_mean_iou_is_pooled_over_pixels_of_three_classes(seed: int) -> None:
    logits, classes, masks, has_mask, targets = _images(25, seed)
    metrics = MultiMetrics(3)
    metrics.update(logits, classes, masks, has_mask, targets)
    assert metrics.compute()["miou"] == pytest.approx(_miou(logits, classes, masks, targets))


def test_the_score_is_the_mean_of_dice_and_auroc_in_any_batches_and_after_a_reset() -> None:
    images = _images(30)
    whole = MultiMetrics(3)
    whole.update(*images)
    scores = whole.compute()
    assert scores["score"] == pytest.approx((scores["dice"] + scores["auroc"]) / 2)
    assert {"dice_all", "fpr_normal", "accuracy", "f1_malignant", "miou", "map_box", "map_box50"} <= set(scores)
    parts = MultiMetrics(3)
    for _ in range(2):
        for start in range(0, 30, 7):
            parts.update(*(tensor[start : start + 7] for tensor in images))
        assert parts.compute() == pytest.approx(scores)
        parts.reset()


def test_each_metric_rests_on_the_images_that_have_what_it_needs() -> None:
    logits, classes, masks, has_mask, targets = _images(24)
    has_mask[::4], targets[1::4] = False, -1
    metrics = MultiMetrics(3)
    metrics.update(logits, classes, masks, has_mask, targets)
    scores = metrics.compute()
    both = has_mask & (targets >= 0)
    assert scores["miou"] == pytest.approx(_miou(logits[both], classes[both], masks[both], targets[both]))
    only_masks = MultiTask().metrics().masks
    only_masks.update(logits[has_mask], masks[has_mask])
    assert scores["dice"] == only_masks.compute()["dice"]
    assert scores["accuracy"] == pytest.approx((classes.argmax(1) == targets)[targets >= 0].double().mean().item())


def test_without_any_class_the_score_is_the_dice() -> None:
    logits, classes, masks, has_mask, targets = _images(6)
    metrics = MultiMetrics(3)
    metrics.update(logits, classes, masks, has_mask, torch.full_like(targets, -1))
    scores = metrics.compute()
    assert scores["score"] == scores["dice"]
    assert "miou" not in scores
    assert "map_box" not in scores


def test_two_classes_are_benign_and_malignant() -> None:
    logits, classes, masks, has_mask, targets = (tensor[tensor_rows] for tensor_rows, tensor in _lesions(_images(30)))
    three, two = MultiMetrics(3), MultiMetrics(2)
    three.update(logits, classes, masks, has_mask, targets)
    two.update(logits, classes[:, 1:], masks, has_mask, targets - 1)
    # The better lesion class, and so the mean IoU, does not depend on what is said of normal.
    assert two.compute()["miou"] == three.compute()["miou"]
    assert "recall_normal" not in two.compute()


def _lesions(images: tuple[Tensor, ...]) -> list[tuple[Tensor, Tensor]]:
    return [(images[-1] > 0, tensor) for tensor in images]


# Detection


def test_a_box_a_component_with_specks_left_out() -> None:
    mask = np.zeros((100, 200), bool)
    mask[10:20, 30:60] = mask[20:25, 60:62] = True  # touch at a corner: one component
    mask[50:54, 100:105] = True  # 20 pixels, .1 % of the image
    mask[80:82, 5:14] = True  # 18 pixels
    boxes, means = component_boxes(mask)
    assert boxes.tolist() == [[30, 10, 62, 25], [100, 50, 105, 54]]
    assert means.tolist() == [1, 1]
    assert component_boxes(np.zeros((9, 9), bool))[0].shape == (0, 4)


def test_a_box_scores_class_probability_times_mean_mask_probability() -> None:
    logits = np.full((20, 20), -2.0)
    logits[2:6, 2:6] = 1.0
    logits[2:4, 2:6] = 3.0
    found = predicted_boxes(logits, (0.2, 0.7))
    sigmoid = 1 / (1 + np.exp(-np.array([1.0, 3.0])))
    assert found["scores"].tolist() == pytest.approx([0.7 * sigmoid.mean()])
    assert found["labels"].tolist() == [1]
    assert found["boxes"].tolist() == [[2, 2, 6, 6]]


def test_average_precision_has_known_answers() -> None:
    mask = np.zeros((50, 50), bool)
    mask[10:30, 10:30] = True
    shifted = np.roll(mask, 4, axis=1)  # box IoU .67: right at thresholds .5, .55, .6 and .65
    logits, shifted_logits = np.where(mask, 4.0, -4.0), np.where(shifted, 4.0, -4.0)
    truth = [true_boxes(mask, 0), true_boxes(mask, 1)]

    def scores(*predictions: tuple[np.ndarray, tuple[float, float]]) -> dict[str, float]:
        return detection_scores([predicted_boxes(*one) for one in predictions], truth)

    benign, malignant = (0.9, 0.1), (0.1, 0.9)
    assert scores((logits, benign), (logits, malignant)) == pytest.approx({"map_box": 1, "map_box50": 1})
    # The boxes are right and the classes are swapped: nothing is found.
    assert scores((logits, malignant), (logits, benign)) == pytest.approx({"map_box": 0, "map_box50": 0})
    by_half = scores((shifted_logits, benign), (shifted_logits, malignant))
    assert by_half == pytest.approx({"map_box": 0.4, "map_box50": 1}, abs=1e-6)
    assert scores((-logits - 9, benign), (logits, malignant)) == pytest.approx({"map_box": 0.5, "map_box50": 0.5})


def test_without_a_true_box_there_is_no_average_precision() -> None:
    empty = true_boxes(np.zeros((9, 9), bool), 0)
    assert detection_scores([predicted_boxes(np.ones((9, 9)), (1.0, 0.0))], [empty]) == {}


@pytest.mark.parametrize("classes", [3, 2])
def test_labels_of_a_batch_become_targets_of_the_classes(classes: int) -> None:
    logits, scores, masks, has_mask, targets = _images(30)
    task = MultiTask(classes)
    metrics = task.metrics()
    task.update(metrics, (logits, scores[:, -classes:]), Batch(torch.empty(0), masks, targets, has_mask))
    kept = targets >= 3 - classes
    right = (scores[:, -classes:].argmax(1) == targets - (3 - classes))[kept]
    assert metrics.compute()["accuracy"] == pytest.approx(right.double().mean().item())
