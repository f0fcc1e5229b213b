"""The training loop: deterministic, frozen means frozen, resumable, and it learns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from search_spaces import SPACES
from search_spaces.recipes import RECIPES
from tests.support.checkpoints import load_model
from trainables import checkpoint
from trainables.data import Prepared, prepare, read_manifest
from trainables.inference import predict
from trainables.models.weights import find
from trainables.moving_average import MovingAverage
from trainables.training import DivergedError, Training

LITE = {"seg": "smp_unet", "cls": "tf_efficientnet_lite0", "multi": "smp_unet"}
SCRATCH: dict[str, Any] = {
    "architecture": "unet",
    "encoder": "",
    "dropout": 0.1,
    "loss": "dice_bce",
    "loss_weight": 0.5,
    "optimizer": "adamw",
    "lr": 3e-3,
    "weight_decay": 1e-4,
    "batch_size": 8,
    "augmentation": "light",
    "freeze_epochs": 0,
    "warmup_epochs": 0,
    "balance": "none",
    "ema": 0.0,
    "classes": 3,
    "epochs": 4,
    "seed": 0,
}
PRETRAINED = SCRATCH | {
    "architecture": "smp_unet",
    "encoder": "tf_efficientnet_lite0",
    "lr": 1e-3,
    "augmentation": "none",
}


def _weights(training: Training) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in training.model.state_dict().items()}


def _same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_same_seed_same_result(prepared: Prepared) -> None:
    def run(seed: int, workers: int) -> tuple[dict[str, torch.Tensor], list[dict[str, float]]]:
        torch.set_num_threads(workers)
        training = Training("seg", SCRATCH | {"seed": seed, "balance": "sampler"}, prepared)
        torch.set_num_threads(1)  # of arithmetic, in which the order of a sum would matter
        torch.rand(seed + workers)  # the state that another trial leaves behind must not matter
        history = [{**training.train_epoch(), **training.evaluate()} for _ in range(2)]
        return _weights(training), [{k: v for k, v in epoch.items() if k != "train/wait"} for epoch in history]

    weights, history = run(0, 1)
    weights_again, history_again = run(0, 3)
    other, _ = run(1, 1)
    assert _same(weights, weights_again)
    assert history == history_again
    assert not _same(weights, other)


def test_resumed_equals_uninterrupted(prepared: Prepared, tmp_path: Path) -> None:
    config = SCRATCH | {"warmup_epochs": 1}
    whole = Training("seg", config, prepared)
    for _ in range(3):
        whole.train_epoch()
    first = Training("seg", config, prepared)
    first.train_epoch()
    checkpoint.save(tmp_path, first, {"value": 0.5, "epoch": 1}, first.model.state_dict())
    second = Training("seg", config, prepared)
    best, weights = checkpoint.resume(tmp_path, second)
    assert (best["value"], best["epoch"]) == (0.5, 1)
    assert _same(_weights(first), weights)
    for _ in range(2):
        second.train_epoch()
    assert second.epoch == whole.epoch == 3
    assert _same(_weights(whole), _weights(second))
    assert second.optimizer.param_groups[0]["lr"] == whole.optimizer.param_groups[0]["lr"]


def test_frozen_means_frozen_statistics_too(prepared: Prepared) -> None:
    source = find("tf_efficientnet_lite0", "auto")
    training = Training("seg", PRETRAINED | {"freeze_epochs": 1, "epochs": 2}, prepared, source)
    before = _weights(training)
    training.train_epoch()
    frozen = _weights(training)
    encoder = [name for name in before if name.startswith("net.encoder.")]
    others = [name for name in before if name.startswith("net.decoder.") and name.endswith("weight")]
    assert any(name.endswith("running_mean") for name in encoder)
    assert all(torch.equal(before[name], frozen[name]) for name in encoder)
    assert not any(torch.equal(before[name], frozen[name]) for name in others)
    training.train_epoch()
    free = _weights(training)
    moved = [name for name in encoder if not torch.equal(frozen[name], free[name])]
    assert any(name.endswith("running_mean") for name in moved)
    assert any(name.endswith("weight") for name in moved)


def test_pretrained_network_learns_the_phantom(prepared: Prepared) -> None:
    source = find("tf_efficientnet_lite0", "auto")
    assert source.kind == "package"
    training = Training("seg", PRETRAINED | {"epochs": 6, "batch_size": 4}, prepared, source)
    before = training.evaluate()
    losses = [training.train_epoch()["train/loss"] for _ in range(6)]
    after = training.evaluate()
    assert losses[-1] < 0.6 * losses[0]
    assert after["dice"] > before["dice"] + 0.2
    assert set(after) == {"dice", "iou", "dice_all", "fpr_normal", "loss"}


def test_rates_warm_up_then_fall_to_nothing(prepared: Prepared) -> None:
    training = Training("seg", SCRATCH | {"warmup_epochs": 1}, prepared)
    rates = [training.train_epoch()["train/lr"] for _ in range(4)]
    assert rates[0] == pytest.approx(SCRATCH["lr"], rel=0.3)
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 0.05 * SCRATCH["lr"]


def test_moving_average_is_what_is_evaluated_and_kept(prepared: Prepared, tmp_path: Path) -> None:
    training = Training("seg", SCRATCH | {"ema": 0.9}, prepared)
    training.train_epoch()
    kept, raw = training.best_model.state_dict(), training.model.state_dict()
    assert kept.keys() == raw.keys()
    assert not _same(dict(kept), dict(raw))
    checkpoint.save(tmp_path, training, {"value": 0.5, "epoch": 1}, kept)
    resumed = Training("seg", SCRATCH | {"ema": 0.9}, prepared)
    checkpoint.resume(tmp_path, resumed)
    training.train_epoch()
    resumed.train_epoch()
    assert _same(dict(training.best_model.state_dict()), dict(resumed.best_model.state_dict()))


def test_frozen_stage_has_its_own_rate(prepared: Prepared) -> None:
    source = find("tf_efficientnet_lite0", "auto")
    staged = PRETRAINED | {"freeze_epochs": 2, "freeze_lr": 5e-3, "lr": 1e-4, "epochs": 4}
    training = Training("seg", staged, prepared, source)
    rates = [training.train_epoch()["train/lr"] for _ in range(4)]
    assert rates[0] == pytest.approx(5e-3)
    assert 0 <= rates[3] < rates[2] <= 1e-4


def test_nan_is_an_error_and_does_not_destroy_the_weights(prepared: Prepared) -> None:
    training = Training("seg", SCRATCH, prepared)
    training.loss = lambda logits, batch: logits.sum() * float("nan")
    before = dict(training.model.named_parameters())
    before = {name: tensor.detach().clone() for name, tensor in before.items()}
    with pytest.raises(DivergedError, match="epoch 1"):
        training.train_epoch()
    assert all(torch.equal(before[name], tensor) for name, tensor in training.model.named_parameters())


@pytest.mark.parametrize(("task", "classes"), [("seg", 3), ("cls", 3), ("cls", 2), ("multi", 3), ("multi", 2)])
@pytest.mark.parametrize("masks", ["merge", "duplicate"])
def test_never_trains_on_validation_or_test(task: str, classes: int, masks: str, phantom: Path, tmp_path: Path) -> None:
    data = prepare(read_manifest(phantom), tmp_path / "cache", size=32, masks=masks)
    lite = {"architecture": LITE[task], "encoder": "tf_efficientnet_lite0"}
    config = {**SCRATCH, **SPACES[task].HOUSE, **lite, "classes": classes, "warmup_epochs": 0}
    for fold in range(3):
        training = Training(task, config, data, fold=fold)
        visited = set(data.mask_image[training._order(0)].tolist())
        held_out = {*data.fold_rows(fold)[1].tolist(), *data.test_rows().tolist()}
        assert visited
        assert not visited & held_out
        assert not set(data.groups[list(visited)]) & set(data.groups[list(held_out)])
        named = set(checkpoint.trained_on(training))
        assert {data.image_digests[row][:16] for row in visited} <= named
        assert not {data.image_digests[row][:16] for row in held_out} & named


def test_whole_training_groups_are_named_even_where_a_given_split_leaks(prepared: Prepared) -> None:
    groups = prepared.groups.copy()
    inside, outside = prepared.fold_rows(0)[0][0], prepared.test_rows()[0]
    groups[outside] = groups[inside]
    training = Training("seg", SCRATCH, replace(prepared, groups=groups))
    assert prepared.image_digests[outside][:16] in checkpoint.trained_on(training)


def test_average_of_an_unchanging_network_is_that_network() -> None:
    import timm

    model = timm.create_model("swin_tiny_patch4_window7_224", num_classes=0, img_size=64)
    averaged = MovingAverage(model, 0.99)
    for _ in range(20):
        averaged.update_parameters(model)
    for mine, theirs in zip(averaged.module.buffers(), model.buffers(), strict=True):
        assert torch.equal(mine, theirs)


def test_a_moving_average_is_torchs_own_with_a_decay_that_grows() -> None:
    def update(averaged: list[Tensor], current: list[Tensor], count: Tensor) -> None:
        get_ema_multi_avg_fn(min(0.6, (1 + int(count)) / (10 + int(count))))(averaged, current, count)

    model = torch.nn.Linear(3, 2)
    mine, theirs = MovingAverage(model, 0.6), AveragedModel(model, multi_avg_fn=update)
    for seed in range(20):
        torch.manual_seed(seed)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter)
        mine.update_parameters(model)
        theirs.update_parameters(model)
        assert _same(dict(mine.state_dict()), dict(theirs.state_dict()))


def test_a_constant_schedule_stays(prepared: Prepared) -> None:
    training = Training("seg", SCRATCH | {"schedule": "constant"}, prepared)
    assert [training.train_epoch()["train/lr"] for _ in range(3)] == [SCRATCH["lr"]] * 3


def test_head_has_its_own_decay_on_its_kernel_alone(prepared: Prepared) -> None:
    recipe = RECIPES["resnet50_se_head"].scaled(5) | {"epochs": 5, "seed": 0, "classes": 3}
    training = Training("cls", recipe, prepared)
    decays = {id(p): group["weight_decay"] for group in training.optimizer.param_groups for p in group["params"]}
    strong = [name for name, p in training.model.named_parameters() if decays[id(p)] == 0.1]
    assert len(strong) == 1
    assert strong[0].startswith("head.")
    assert strong[0].endswith("weight")


def test_checkpoint_predicts_what_the_model_predicts(prepared: Prepared, tmp_path: Path) -> None:
    training = Training("seg", SCRATCH, prepared)
    training.train_epoch()
    checkpoint.save(tmp_path, training, {"value": 0.5, "epoch": 1}, training.model.state_dict())
    model, description = load_model(tmp_path)
    images = prepared.images[:5]
    expected = predict(training.model, images)
    assert expected.shape == (5, 1, 64, 64)
    torch.testing.assert_close(predict(model, images), expected)
    in_parts = torch.cat([predict(model, images[:2]), predict(model, images[2:])])
    torch.testing.assert_close(in_parts, expected, rtol=1e-4, atol=1e-4)
    assert description["classes"] == ["normal", "benign", "malignant"]
