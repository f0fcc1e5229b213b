"""Multi-task: two heads on one encoder, each learning from what an image has; refinement; metrics that need both."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from search_spaces import multi as space
from trainables.batches import Batch
from trainables.data import DataError, Prepared
from trainables.losses import cls, seg
from trainables.losses.multi import build_loss
from trainables.metrics.detection import component_boxes, detection_scores, predicted_boxes, true_boxes
from trainables.metrics.multi import MultiMetrics
from trainables.models.multi import build, refine
from trainables.models.weights import find
from trainables.tasks.multi import MultiTask
from trainables.training import Training, predict

CONFIG = {"architecture": "smp_unet", "encoder": "tf_efficientnet_lite0", **space.HOUSE}
PAIRS = [(entry.name, encoder) for entry in space.ARCHITECTURES.values() for encoder in entry.encoders]
REFERENCE = [(entry.name, entry.encoders[0]) for entry in space.ARCHITECTURES.values()]
LABELS = np.array([0, 1, 2, 1])


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


# The network


def _both_heads_learn(architecture: str, encoder: str, size: int) -> None:
    torch.manual_seed(0)
    model = build(CONFIG | {"architecture": architecture, "encoder": encoder}, classes=3)
    masks, classes = model(torch.randint(0, 256, (2, 1, size, size), dtype=torch.uint8))
    assert (masks.shape, classes.shape) == ((2, 1, size, size), (2, 3))
    assert masks.dtype == classes.dtype == torch.float32
    (masks.square().mean() + classes.square().mean()).backward()
    assert not [name for name, parameter in model.named_parameters() if parameter.grad is None]


@pytest.mark.parametrize(("architecture", "encoder"), REFERENCE)
def test_both_heads_of_every_architecture_learn(architecture: str, encoder: str) -> None:
    _both_heads_learn(architecture, encoder, 64)


@pytest.mark.slow
@pytest.mark.parametrize("size", [64, 128])
@pytest.mark.parametrize(("architecture", "encoder"), PAIRS)
def test_both_heads_of_every_registered_pair_learn(architecture: str, encoder: str, size: int) -> None:
    _both_heads_learn(architecture, encoder, size)


def test_the_number_of_classes_and_the_size_are_the_users() -> None:
    masks, classes = build(CONFIG, classes=2).eval()(torch.zeros(1, 1, 33, 70))
    assert (masks.shape, classes.shape) == ((1, 1, 33, 70), (1, 2))


def test_a_network_without_an_encoder_has_no_class_head() -> None:
    with pytest.raises(ValueError, match=r"'resunet'.*smp_unet"):
        build(CONFIG | {"architecture": "resunet"}, classes=3)


# Refinement


def _outputs(lesion: bool, *class_logits: float) -> tuple[Tensor, Tensor]:
    masks = torch.full((1, 1, 2, 2), -2.0)
    masks[0, 0, 0, 0] = 3.0 if lesion else -0.5
    return masks, torch.tensor([class_logits])


def test_heads_that_agree_on_a_lesion_are_left_alone() -> None:
    outputs = _outputs(True, 0.0, 1.0, 2.0)
    assert all(torch.equal(before, after) for before, after in zip(outputs, refine(*outputs), strict=True))


def test_a_normal_has_no_lesion_pixel() -> None:
    masks, classes = refine(*_outputs(True, 2.0, 1.0, 0.0))
    assert masks.flatten().tolist() == [-1.0, -2.0, -2.0, -2.0]
    assert classes.tolist() == [[2.0, 1.0, 0.0]]


def test_an_image_without_lesion_pixels_is_normal() -> None:
    before = _outputs(False, 0.0, 1.0, 2.0)
    masks, classes = refine(*before)
    assert torch.equal(masks, before[0])
    assert classes.softmax(1)[0, 0].item() == pytest.approx(torch.sigmoid(torch.tensor(1.0)).item())
    assert torch.equal(classes[:, 1:], before[1][:, 1:])
    assert before[1].tolist() == [[0.0, 1.0, 2.0]]  # nothing is changed in place
    sure = refine(*_outputs(False, 9.0, 0.0, 0.0))[1]
    assert sure.tolist() == [[9.0, 0.0, 0.0]]


def test_images_are_refined_one_by_one() -> None:
    generator = torch.Generator().manual_seed(0)
    masks = torch.randn(20, 1, 3, 3, generator=generator) - 1.5
    classes = torch.randn(20, 3, generator=generator)
    together = refine(masks, classes)
    alone = [refine(masks[i : i + 1], classes[i : i + 1]) for i in range(20)]
    assert torch.equal(together[0], torch.cat([one for one, _ in alone]))
    assert torch.equal(together[1], torch.cat([one for _, one in alone]))
    assert (together[1][~(masks > 0).flatten(1).any(1)].argmax(1) == 0).all()
    assert not (together[0][classes.argmax(1) == 0] > 0).any()


@pytest.mark.parametrize(("classes", "refined"), [(3, True), (2, False)])
def test_a_model_refines_what_it_predicts_and_not_what_it_learns_from(classes: int, refined: bool) -> None:
    torch.manual_seed(0)
    plain = build(CONFIG | {"dropout": 0.0}, classes).eval()
    refining = build(CONFIG | {"dropout": 0.0, "refine": True}, classes).eval()
    refining.load_state_dict(plain.state_dict())
    images = torch.randint(0, 256, (3, 1, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        # Without lesion pixels anywhere, every image is refined.
        for model in (plain, refining):
            model.net.segmentation_head[0].bias.fill_(-20.0)
        before, after = plain(images), refining(images)
        learning = refining.train()(images)
        known = plain.train()(images)
    assert torch.equal(after[1], refine(*before)[1] if refined else before[1])
    assert torch.equal(learning[1], known[1])
    assert not refined or not torch.equal(after[1], before[1])


# The loss


def _batch(has_mask: list[bool], targets: list[int]) -> tuple[tuple[Tensor, Tensor], Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    masks = torch.zeros(len(targets), 1, 8, 8, dtype=torch.uint8)
    masks[:, :, 2:5, 2:5] = 1
    outputs = (
        torch.randn(len(targets), 1, 8, 8, generator=generator, requires_grad=True),
        torch.randn(len(targets), 3, generator=generator, requires_grad=True),
    )
    return outputs, masks, torch.tensor(has_mask), torch.tensor(targets)


@pytest.mark.parametrize("weight", [0.2, 0.7])
def test_the_loss_is_the_weighted_sum_of_both_over_what_they_can_learn_from(weight: float) -> None:
    outputs, masks, has_mask, targets = _batch([True, False, True, True], [0, 1, -1, 2])
    config = CONFIG | {"mask_weight": weight, "class_loss": "focal", "focal_gamma": 2.0, "balance": "weights"}
    loss = build_loss(config, LABELS, classes=3)(outputs, masks, has_mask, targets)
    seen, known = [0, 2, 3], [0, 1, 3]
    mask = seg.build_loss("dice_bce", 0.5)(outputs[0][seen], masks[seen])
    label = cls.build_loss(config | {"loss": "focal"}, LABELS, 3)(outputs[1][known], targets[known])
    assert loss.item() == pytest.approx((weight * mask + (1 - weight) * label).item(), rel=1e-6)


def test_an_image_without_a_mask_trains_the_class_head_alone() -> None:
    outputs, masks, has_mask, targets = _batch([True, False], [-1, 2])
    build_loss(CONFIG, LABELS, classes=3)(outputs, masks, has_mask, targets).backward()
    mask_grads, class_grads = outputs[0].grad, outputs[1].grad
    assert (mask_grads[0] != 0).any()
    assert (mask_grads[1] == 0).all()
    assert (class_grads[0] == 0).all()
    assert (class_grads[1] != 0).all()


def _gradients(has_mask: bool, target: int) -> dict[str, bool]:
    """Whether any gradient reaches the parts of a network from a batch of such images."""
    torch.manual_seed(0)
    model = build(CONFIG, classes=3)
    masks = torch.zeros(2, 1, 32, 32, dtype=torch.uint8)
    masks[:, :, 8:20, 8:20] = 1
    outputs = model(torch.randint(0, 256, (2, 1, 32, 32), dtype=torch.uint8))
    known = torch.tensor([has_mask] * 2), torch.tensor([target] * 2)
    build_loss(CONFIG, LABELS, classes=3)(outputs, masks, *known).backward()
    parts = {"encoder": model.encoder, "decoder": model.net.decoder, "classes": model.net.classification_head}
    return {
        name: any(p.grad is not None and bool(p.grad.any()) for p in part.parameters()) for name, part in parts.items()
    }


def test_a_batch_without_masks_or_without_classes_trains_the_other_head() -> None:
    assert _gradients(has_mask=False, target=1) == {"encoder": True, "decoder": False, "classes": True}
    assert _gradients(has_mask=True, target=-1) == {"encoder": True, "decoder": True, "classes": False}
    assert _gradients(has_mask=False, target=-1) == {"encoder": False, "decoder": False, "classes": False}


def test_a_weight_outside_0_to_1_is_refused() -> None:
    with pytest.raises(ValueError, match=r"mask_weight is 1\.5"):
        build_loss(CONFIG | {"mask_weight": 1.5}, LABELS, classes=3)


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


# The task


def test_rows_are_of_the_classes_or_have_a_mask(prepared: Prepared) -> None:
    labels, has_mask = prepared.labels.copy(), prepared.has_mask.copy()
    labels[:4], has_mask[:2] = -1, False
    changed = replace(prepared, labels=labels, has_mask=has_mask)
    rows = np.arange(len(labels))
    assert MultiTask(3).rows(changed).tolist() == rows[2:].tolist()
    assert MultiTask(2).rows(changed).tolist() == [row for row in rows[2:] if labels[row] != 0]
    with pytest.raises(DataError, match="--task cls"):
        MultiTask(3).rows(replace(prepared, masks=np.zeros_like(prepared.masks)))
    with pytest.raises(DataError, match="at least two of the classes benign, malignant"):
        MultiTask(2).rows(replace(prepared, labels=np.minimum(labels, 1)))


@pytest.mark.parametrize("classes", [3, 2])
def test_labels_of_a_batch_become_targets_of_the_classes(classes: int) -> None:
    logits, scores, masks, has_mask, targets = _images(30)
    task = MultiTask(classes)
    metrics = task.metrics()
    task.update(metrics, (logits, scores[:, -classes:]), Batch(torch.empty(0), masks, targets, has_mask))
    kept = targets >= 3 - classes
    right = (scores[:, -classes:].argmax(1) == targets - (3 - classes))[kept]
    assert metrics.compute()["accuracy"] == pytest.approx(right.double().mean().item())


@pytest.mark.parametrize("classes", [3, 2])
def test_one_network_learns_both_and_draws_them(prepared: Prepared, classes: int) -> None:
    config = CONFIG | {"batch_size": 4, "epochs": 4, "warmup_epochs": 0, "seed": 0, "classes": classes}
    training = Training("multi", config, prepared, find("tf_efficientnet_lite0", "auto"))
    losses = [training.train_epoch()["train/loss"] for _ in range(4)]
    assert losses[-1] < 0.8 * losses[0]
    assert training.evaluate()["dice"] > 0.3
    rows = training.validation_rows
    figures = training.task.figures(prepared, rows, predict(training.best_model, prepared.images[rows]))
    assert set(figures) == {"predictions", "confusion", "roc", "precision_recall"}
    assert all(figure.dtype == np.uint8 and figure.shape[2] == 3 for figure in figures.values())
