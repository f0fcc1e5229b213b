"""Out of memory: the same batch in smaller parts, the same step, remembered, and never an image alone in training."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from trainables.batches import Batch
from trainables.data import Prepared
from trainables.memory import halving
from trainables.tasks.seg import Segmentation
from trainables.training import Training
from trainables.trial import Trial, TrialContext

CONFIG: dict[str, Any] = {
    "architecture": "unet",
    "encoder": "",
    "dropout": 0.0,
    "loss": "dice_bce",
    "loss_weight": 0.5,
    "optimizer": "sgd",
    "lr": 0.1,
    "weight_decay": 0.0,
    "batch_size": 9,
    "augmentation": "none",
    "freeze_epochs": 0,
    "warmup_epochs": 0,
    "balance": "none",
    "ema": 0.0,
    "classes": 3,
    "epochs": 3,
    "seed": 0,
}


def _gpu_error() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def _cpu_error() -> None:
    torch.empty(2**50, dtype=torch.uint8)  # the allocator's own refusal


class Small(nn.Module):
    """A network without batch statistics that has memory for so many images, while training and while not."""

    encoder = None
    failure: Callable[[], None] = staticmethod(_gpu_error)

    def __init__(self, training: int = 99, evaluation: int = 99) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.ReLU(), nn.Conv2d(4, 1, 3, padding=1)
        )
        self.room = {True: training, False: evaluation}
        self.seen: dict[bool, list[int]] = {True: [], False: []}

    def set_normalisation(self, mean: float, std: float) -> None: ...

    def forward(self, images: Tensor) -> Tensor:
        self.seen[self.training].append(len(images))
        logits = self.net(images.float() / 255)
        if len(images) > self.room[self.training]:
            self.failure()
        return logits


@pytest.fixture
def start(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Training]:
    """A training whose network has room for so many images."""

    def begin(**room: int) -> Training:
        monkeypatch.setattr(Segmentation, "build", lambda self, config: Small(**room))
        return Training("seg", CONFIG, prepared)

    return begin


def _weights(training: Training) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in training.model.parameters()])


@pytest.mark.parametrize("failure", [_gpu_error, _cpu_error])
def test_same_steps_in_parts(
    start: Callable[..., Training], failure: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Small, "failure", staticmethod(failure))
    whole, halved = start(), start(training=3)
    initial = _weights(whole)
    losses = [(whole.train_epoch()["train/loss"], halved.train_epoch()["train/loss"]) for _ in range(2)]
    assert whole.micro_batch is None
    assert halved.micro_batch == 3
    assert halved.model.seen[True][:5] == [9, 5, 3, 3, 3], "9 and 5 do not fit, and the same 9 images are then trained"
    assert max(halved.model.seen[True][5:]) == 3
    for one, other in losses:
        assert one == pytest.approx(other, rel=1e-5)
    torch.testing.assert_close(_weights(halved), _weights(whole), rtol=1e-4, atol=1e-6)
    assert not torch.allclose(_weights(whole), initial, atol=1e-3)


def test_two_images_are_the_least(start: Callable[..., Training]) -> None:
    training = start(training=1)
    before = _weights(training)
    with pytest.raises(torch.OutOfMemoryError, match="CUDA out of memory"):
        training.train_epoch()
    assert training.model.seen[True] == [9, 5, 3, 3], "in twos, the odd one makes three"
    assert torch.equal(_weights(training), before)


@pytest.mark.parametrize("count", [2, 3, 5, 8, 9, 16, 33])
def test_parts_keep_order_and_are_never_of_one(count: int) -> None:
    rows = torch.arange(count)
    batch = Batch(rows, rows, rows, rows)
    for most in range(2, count + 1):
        parts = batch.split(most)
        sizes = [len(part.labels) for part in parts]
        assert min(sizes) >= 2
        assert max(sizes) <= (3 if most == 2 else most)
        assert max(sizes) - min(sizes) <= 1
        assert torch.equal(torch.cat([part.masks for part in parts]), rows)
    assert [len(part.images) for part in Batch(rows[:1], rows[:1], rows[:1], rows[:1]).split(2)] == [1]


def test_resumed_training_does_not_go_through_it_again(start: Callable[..., Training]) -> None:
    first = start(training=4, evaluation=2)
    first.train_epoch()
    first.evaluate()
    state = first.state_dict()
    assert state["micro_batch"] == 3
    assert state["evaluation_batch"] == 2
    second = start(training=4, evaluation=2)
    second.load_state_dict(state)
    second.train_epoch()
    second.evaluate()
    assert max(second.model.seen[True]) == 3
    assert max(second.model.seen[False]) == 2
    older = {name: value for name, value in state.items() if name not in ("micro_batch", "evaluation_batch")}
    third = start()
    third.load_state_dict(older)
    assert third.micro_batch is None


def test_evaluation_in_smaller_batches_scores_the_same(start: Callable[..., Training]) -> None:
    rows = np.arange(20)
    roomy, tight = start(), start(evaluation=1)
    assert tight.evaluate(rows) == pytest.approx(roomy.evaluate(rows), rel=1e-5)
    assert tight.micro_batch is None
    assert max(roomy.model.seen[False]) == 20
    tight.model.seen[False].clear()
    tight.evaluate(rows)
    assert tight.model.seen[False] == [1] * 20
    with pytest.raises(torch.OutOfMemoryError):
        start(evaluation=0).evaluate(rows)


def test_other_errors_are_not_tried_again() -> None:
    tried = []

    def attempt(size: int) -> None:
        tried.append(size)
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        halving(attempt, 8, least=1)
    assert tried == [8]


def test_what_failed_is_gone_before_the_cache_is_emptied(monkeypatch: pytest.MonkeyPatch) -> None:
    failed: list[weakref.ref[Tensor]] = []
    alive: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: alive.append(sum(ref() is not None for ref in failed)))

    def attempt(size: int) -> None:
        activations = torch.zeros(size)
        failed.append(weakref.ref(activations))
        if size > 2:
            _gpu_error()

    assert halving(attempt, 8, least=1) == (None, 2)
    assert len(failed) == 3
    assert alive == [0, 0]


def test_a_trial_says_that_its_batch_was_halved(start: Callable[..., Training], prepared: Prepared) -> None:
    def run(**room: int) -> list[dict[str, Any]]:
        start(**room)
        trial = Trial.__new__(Trial)
        trial.setup(CONFIG, TrialContext("seg", prepared))
        results = [trial.step()]
        trial.training.loss = lambda logits, batch: logits.sum() * float("nan")
        return [*results, trial.step()]

    ordinary, diverged = run(training=4)
    assert ordinary["micro_batch"] == diverged["micro_batch"] == 3
    assert diverged["stopped"] == "diverged"
    assert diverged["best/dice"] == ordinary["best/dice"]
    assert not any("micro_batch" in result for result in run())
