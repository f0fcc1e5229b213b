from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional

from search_spaces.cls import BALANCES, HOUSE
from search_spaces.cls import LOSSES as NAMES
from trainables.losses.cls import build_loss, class_weights

#: As skewed as BUSI is: normal, benign, malignant.
LABELS = np.repeat([0, 1, 2], [10, 60, 30])


def _loss(**config):
    return build_loss({**HOUSE, "label_smoothing": 0.0, "focal_gamma": 2.0, **config}, LABELS, 3)


def _batch(count: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, 3, generator=generator, dtype=torch.float64), torch.arange(count) % 3


@pytest.mark.parametrize("balance", BALANCES)
@pytest.mark.parametrize(("name", "smoothing", "gamma"), [("ce", 0.0, 0.0), ("ce", 0.2, 0.0), ("focal", 0.0, 1.5)])
def test_values_are_those_of_the_definitions(name: str, smoothing: float, gamma: float, balance: str) -> None:
    logits, targets = _batch()
    p = np.exp(logits.numpy())
    p /= p.sum(1, keepdims=True)
    wanted = np.eye(3)[targets] * (1 - smoothing) + smoothing / 3
    losses = -(wanted * np.log(p)).sum(1)
    if name == "focal":
        losses *= (1 - p[range(6), targets]) ** gamma
    if balance == "weights":
        losses *= compute_class_weight("balanced", classes=np.arange(3), y=LABELS)[targets]
    found = _loss(loss=name, label_smoothing=smoothing, focal_gamma=gamma, balance=balance)(logits, targets)
    assert found.item() == pytest.approx(losses.mean(), rel=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_rare_class_gets_a_larger_share_of_the_gradient(name: str) -> None:
    """Each image of a class pulls in proportion to its weight, so that all classes pull as one."""
    targets = torch.from_numpy(LABELS)

    def shares(balance: str) -> np.ndarray:
        logits = torch.zeros(len(LABELS), 3, requires_grad=True)
        _loss(loss=name, balance=balance)(logits, targets).backward()
        pull = logits.grad.norm(dim=1).numpy()
        return np.bincount(LABELS, weights=pull) / pull.sum()

    np.testing.assert_allclose(shares("none"), [0.1, 0.6, 0.3], atol=1e-6)
    np.testing.assert_allclose(shares("weights"), [1 / 3] * 3, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_of_one_class_feels_its_weight(name: str) -> None:
    logits = torch.zeros(4, 3)
    rare = _loss(loss=name, balance="weights")(logits, torch.zeros(4, dtype=torch.int64))
    common = _loss(loss=name, balance="weights")(logits, torch.ones(4, dtype=torch.int64))
    assert (rare / common).item() == pytest.approx(6)


def test_focal_turns_to_what_is_wrong() -> None:
    """At gamma 2 the pull of an image at .99 is a thousandth and less of one at .1; at gamma 0 it is cross-entropy."""
    logits = torch.tensor([[5.3, 0.0, 0.0], [-1.5, 0.0, 0.0]], requires_grad=True)
    targets = torch.zeros(2, dtype=torch.int64)
    _loss(loss="focal")(logits, targets).backward()
    easy, hard = logits.grad.norm(dim=1)
    assert easy < hard / 1000
    plain = _loss(loss="focal", focal_gamma=0.0)(logits, targets)
    assert plain.item() == pytest.approx(functional.cross_entropy(logits, targets).item(), rel=1e-6)


@pytest.mark.parametrize("balance", ["none", "weights"])
@pytest.mark.parametrize("name", NAMES)
def test_unknown_classes_teach_nothing(name: str, balance: str) -> None:
    loss = _loss(loss=name, balance=balance)
    logits, targets = _batch()
    logits.requires_grad_()
    mixed = torch.where(torch.arange(6) % 2 == 0, targets, -1)
    result = loss(logits, mixed)
    result.backward()
    assert result.item() == pytest.approx(loss(logits[::2], targets[::2]).item())
    assert (logits.grad[1::2] == 0).all()
    nothing = loss(logits, torch.full((6,), -1))
    nothing.backward()
    assert nothing.item() == 0


@pytest.mark.parametrize("gamma", [0.5, 2.0])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [-1e4, -50.0, 50.0, 1e4])
def test_extreme_logits_stay_finite(name: str, value: float, gamma: float) -> None:
    logits = torch.zeros(3, 3)
    logits[:, 1] = value
    logits.requires_grad_()
    loss = _loss(loss=name, focal_gamma=gamma, label_smoothing=0.1)(logits, torch.tensor([0, 1, 2]))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("balance", ["none", "weights"])
@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_right(name: str, balance: str) -> None:
    loss = _loss(loss=name, balance=balance, focal_gamma=1.3, label_smoothing=0.1)
    logits, targets = _batch()
    assert torch.autograd.gradcheck(lambda x: loss(x, targets), logits.requires_grad_())


def test_class_weights_are_one_on_average_and_leave_out_what_is_not_there() -> None:
    weights = class_weights(LABELS, 3).numpy()
    np.testing.assert_allclose(weights, compute_class_weight("balanced", classes=np.arange(3), y=LABELS), rtol=1e-6)
    assert weights[LABELS].mean() == pytest.approx(1)
    np.testing.assert_allclose(class_weights(np.array([2, 1, 2, 2, -1]), 3), [0, 2, 2 / 3], rtol=1e-6)


def test_unknown_losses_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'hinge'.*ce, focal"):
        _loss(loss="hinge")
