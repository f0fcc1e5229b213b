"""Every loss of every task: finite where data are extreme, and never silent about a mistake."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from search_spaces import SPACES
from trainables.batches import Batch
from trainables.tasks import make_task

CASES = [(task, loss) for task in SPACES for loss in SPACES[task].LOSSES]
#: So that focal is not cross-entropy under another name, in classification and in multi-task's class head.
FOCAL = {"focal_gamma": 2.0, "class_loss": "focal"}
LABELS = np.array([0, 0, 0, 1, 1, 2])


def outputs(task: str, value: float, count: int) -> Any:
    mask = torch.full((count, 1, 16, 16), value, requires_grad=True)
    logits = torch.full((count, 3), 0.0)
    logits[:, 2] = value
    return {"seg": mask, "cls": logits.requires_grad_(), "multi": (mask, logits.requires_grad_())}[task]


def batch(lesion: bool, count: int = 4) -> Batch:
    masks = torch.zeros(count, 1, 16, 16, dtype=torch.uint8)
    masks[:, :, 4:8, 4:8] = int(lesion)
    labels = torch.full((count,), 1 if lesion else 0)
    return Batch(torch.zeros(count, 1, 16, 16, dtype=torch.uint8), masks, labels, torch.ones(count, dtype=torch.bool))


def leaves(found: Any) -> tuple[torch.Tensor, ...]:
    return found if isinstance(found, tuple) else (found,)


@pytest.mark.parametrize(("task", "name"), CASES)
@pytest.mark.parametrize("value", [-50.0, 0.0, 50.0])
@pytest.mark.parametrize("lesion", [False, True])
def test_finite_on_empty_masks_and_extreme_logits(task: str, name: str, value: float, lesion: bool) -> None:
    loss = make_task(task, 3).loss({**SPACES[task].HOUSE, **FOCAL, "loss": name}, LABELS)
    found = outputs(task, value, 4)
    result = loss(found, batch(lesion))
    result.backward()
    assert result.ndim == 0
    assert torch.isfinite(result)
    assert all(torch.isfinite(leaf.grad).all() for leaf in leaves(found) if leaf.grad is not None)


@pytest.mark.parametrize(("task", "name"), CASES)
def test_false_positives_on_an_all_normal_batch_teach(task: str, name: str) -> None:
    loss = make_task(task, 3).loss({**SPACES[task].HOUSE, **FOCAL, "loss": name}, LABELS)
    found = outputs(task, 0.5, 4)
    loss(found, batch(lesion=False)).backward()
    for leaf in leaves(found):
        assert leaf.grad is not None
        assert leaf.grad.abs().sum() > 0


@pytest.mark.parametrize(("task", "name"), CASES)
def test_right_is_better_than_wrong(task: str, name: str) -> None:
    loss = make_task(task, 3).loss({**SPACES[task].HOUSE, **FOCAL, "loss": name}, LABELS)
    data = batch(lesion=True)
    mask = (data.masks.float() - 0.5) * 8
    logits = torch.nn.functional.one_hot(data.labels, 3).float() * 8
    right: Any = {"seg": mask, "cls": logits, "multi": (mask, logits)}[task]
    wrong: Any = tuple(-leaf for leaf in right) if isinstance(right, tuple) else -right
    assert loss(right, data) < loss(wrong, data)
