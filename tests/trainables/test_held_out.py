"""Trainings beside a search: a fixed number of epochs, never twice, from a start, with weighted images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from trainables import checkpoint, held_out
from trainables.batches import sampling_order
from trainables.data import Prepared
from trainables.held_out import Job
from trainables.training import Training

CONFIG: dict[str, Any] = {
    "architecture": "unet", "encoder": "", "dropout": 0.0, "loss": "dice_bce", "loss_weight": 0.5, "lr": 1e-3,
    "optimizer": "adamw", "weight_decay": 0.0, "batch_size": 8, "augmentation": "none", "balance": "none", "ema": 0.0,
    "freeze_epochs": 0, "warmup_epochs": 0, "epochs": 3, "seed": 0,
}  # fmt: skip


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / checkpoint.WEIGHTS)


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def test_keeps_the_last_epoch_and_what_it_was_trained_on(prepared: Prepared, tmp_path: Path) -> None:
    job = Job(tmp_path / "fold-2", "seg", CONFIG, fold=2)
    assert not job.done
    outcome = held_out.train(job, prepared, None)
    assert job.done
    assert job.outcome == outcome
    assert {path.name for path in job.folder.iterdir()} == {checkpoint.WEIGHTS, checkpoint.DESCRIPTION}
    assert [path.name for path in tmp_path.glob("[!.]*")] == ["fold-2"]
    description = json.loads((job.folder / checkpoint.DESCRIPTION).read_text())
    assert description["best"]["epoch"] == 3
    held = {prepared.image_digests[row][:16] for row in prepared.fold_rows(2)[1]}
    assert not held & set(description["trained_on"])


def test_what_was_cut_off_goes_on_and_ends_as_if_it_had_not_been(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "SECONDS", 0.0)
    whole = Job(tmp_path / "whole", "seg", CONFIG, fold=1)
    held_out.train(whole, prepared, None)

    real, epochs = Training.train_epoch, []

    def dies_in_the_third(self: Training) -> dict[str, float]:
        epochs.append(self.epoch)
        if self.epoch == 2 and epochs.count(2) == 1:
            raise KeyboardInterrupt
        return real(self)

    monkeypatch.setattr(Training, "train_epoch", dies_in_the_third)
    cut = Job(tmp_path / "cut", "seg", CONFIG, fold=1)
    with pytest.raises(KeyboardInterrupt):
        held_out.train(cut, prepared, None)
    assert not cut.done
    held_out.train(cut, prepared, None)
    assert epochs == [0, 1, 2, 2]
    assert same(weights(cut.folder), weights(whole.folder))


def test_a_kill_between_two_renames_loses_nothing(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "SECONDS", 0.0)
    real, saves = Path.rename, []

    def dies_with_the_new_one_not_in_place(self: Path, target: Path) -> Path:
        if self.name.endswith(".part.new"):
            saves.append(target)
            if len(saves) == 2:
                raise KeyboardInterrupt
        return real(self, target)

    monkeypatch.setattr(Path, "rename", dies_with_the_new_one_not_in_place)
    job = Job(tmp_path / "fold-1", "seg", CONFIG, fold=1)
    with pytest.raises(KeyboardInterrupt):
        held_out.train(job, prepared, None)
    trained: list[int] = []
    epoch = Training.train_epoch
    monkeypatch.setattr(Training, "train_epoch", lambda self: (trained.append(self.epoch), epoch(self))[1])
    held_out.train(job, prepared, None)
    assert trained == [1, 2]
    assert [path.name for path in tmp_path.glob("[!.]*")] == ["fold-1"]


@pytest.mark.parametrize("damage", ["empty", "cut"])
def test_a_damaged_checkpoint_is_trained_again(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    monkeypatch.setattr(checkpoint, "SECONDS", 0.0)
    job, real = Job(tmp_path / "fold-1", "seg", CONFIG, fold=1), Training.train_epoch

    def dies_in_the_second(self: Training) -> dict[str, float]:
        if self.epoch == 1:
            raise KeyboardInterrupt
        return real(self)

    monkeypatch.setattr(Training, "train_epoch", dies_in_the_second)
    with pytest.raises(KeyboardInterrupt):
        held_out.train(job, prepared, None)
    monkeypatch.setattr(Training, "train_epoch", real)
    state = tmp_path / "fold-1.part" / checkpoint.STATE
    state.write_bytes(state.read_bytes()[: 5000 if damage == "cut" else 0])
    held_out.train(job, prepared, None)
    assert job.done


def test_a_start_keeps_its_body_and_draws_its_head_anew(prepared: Prepared, tmp_path: Path) -> None:
    first = Job(tmp_path / "first", "seg", CONFIG, fold=1)
    held_out.train(first, prepared, None)
    start = weights(first.folder)
    training = Training("seg", {**CONFIG, "seed": 7}, prepared, start, fold=1)
    now = training.model.state_dict()
    changed = {name for name in start if not torch.equal(start[name], now[name])}
    assert changed == {"net.head.weight", "net.head.bias"}


def test_a_start_of_another_network_is_refused(prepared: Prepared) -> None:
    with pytest.raises(ValueError, match="another network"):
        Training("seg", CONFIG, prepared, {"net.head.weight": torch.zeros(1)})


@pytest.mark.parametrize("balance", ["none", "sampler"])
def test_images_are_drawn_in_proportion_to_their_weights(prepared: Prepared, balance: str) -> None:
    rows = prepared.fold_rows(0)[0]
    image_weights = np.ones(len(prepared.images))
    heavy = rows[prepared.labels[rows] == 1][0]
    image_weights[heavy] = 5.0
    drawn = np.concatenate(
        [
            sampling_order(prepared, rows, balance=balance, seed=(0, epoch), image_weights=image_weights)
            for epoch in range(600)
        ]
    )
    counts = np.bincount(drawn, minlength=len(prepared.images))
    others = rows[(prepared.labels[rows] == 1) & (rows != heavy)]
    assert counts[heavy] / counts[others].mean() == pytest.approx(5.0, rel=0.15)
    by_class = np.bincount(prepared.labels[drawn]) / len(drawn)
    expected = np.bincount(prepared.labels[rows], weights=image_weights[rows])
    expected = expected / expected.sum() if balance == "none" else by_class
    np.testing.assert_allclose(by_class, expected, atol=0.02)


def test_uniform_weights_draw_with_replacement_as_the_control_does(prepared: Prepared) -> None:
    rows = prepared.fold_rows(0)[0]
    order = sampling_order(prepared, rows, balance="none", seed=(0, 0), image_weights=np.ones(len(prepared.images)))
    assert len(order) == len(rows)
    assert len(np.unique(order)) < len(rows)
