"""Multi-task: two heads on one encoder, each learning from what an image has; refinement; metrics that need both."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from search_spaces import multi as space
from trainables.data import DataError, Prepared
from trainables.inference import predict
from trainables.losses import cls, seg
from trainables.losses.multi import build_loss
from trainables.models.multi import build, refine
from trainables.models.weights import find
from trainables.tasks.multi import MultiTask
from trainables.training import Training

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
def test_one_network_learns_both_and_draws_them(prepared: Prepared, classes: int) -> None:
    config = CONFIG | {"batch_size": 4, "epochs": 4, "warmup_epochs": 0, "seed": 0, "classes": classes}
    training = Training("multi", config, prepared, find("tf_efficientnet_lite0", "auto"))
    losses = [training.train_epoch()["train/loss"] for _ in range(4)]
    assert losses[-1] < 0.8 * losses[0]
    assert training.evaluate()["dice"] > 0.3
    rows = training.validation_rows
    figures = training.task.figures(prepared, rows, predict(training.best_model, prepared.images[rows]))
    assert set(figures) == {"predictions", "worst_cases", "confusion", "roc", "precision_recall"}
    assert all(figure.dtype == np.uint8 and figure.shape[2] == 3 for figure in figures.values())
