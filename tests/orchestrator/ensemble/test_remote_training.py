"""Trainings of an ensemble on hosts that share nothing but a URI: cut off, finished, begun from another's weights."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file

from orchestrator.ensemble import remote_training
from orchestrator.storage.storage import Storage
from trainables import checkpoint, held_out
from trainables.data import Prepared
from trainables.held_out import Job
from trainables.training import Training

if TYPE_CHECKING:
    from tests.support.s3_server import Bucket

CONFIG: dict[str, Any] = {
    "architecture": "unet", "encoder": "", "dropout": 0.0, "loss": "dice_bce", "loss_weight": 0.5, "lr": 1e-3,
    "optimizer": "adamw", "weight_decay": 0.0, "batch_size": 8, "augmentation": "none", "balance": "none", "ema": 0.0,
    "freeze_epochs": 0, "warmup_epochs": 0, "epochs": 3, "seed": 0,
}  # fmt: skip
FOLDS = "runs/one/folds/a"
FILES = [f"{FOLDS}/fold-1/{name}" for name in sorted((checkpoint.DESCRIPTION, checkpoint.WEIGHTS))]


class Hosts:
    """Hosts without a file in common. Each training here is on another one.

    Attributes:
        job: as the driver names it; none of its folders is on these hosts.
        trained: epochs, in order, counted from 0. before: called with each before it is trained.
    """

    def __init__(self, bucket: Bucket, prepared: Prepared, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bucket, self.scratch, self._prepared = bucket, folder / "tmp", prepared
        self.storage = Storage(folder / "driver" / "runs", f"{bucket.uri}/runs")
        self.job = Job(self.storage.home / "one" / "folds" / "a" / "fold-1", "seg", CONFIG, fold=1)
        self.trained: list[int] = []
        self.before: Callable[[int], object] = lambda epoch: None
        self.scratch.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(self.scratch))
        monkeypatch.setattr(checkpoint, "SECONDS", 0.0)
        real = Training.train_epoch

        def counted(training: Training) -> dict[str, float]:
            self.trained.append(training.epoch)
            self.before(training.epoch)
            return real(training)

        monkeypatch.setattr(Training, "train_epoch", counted)

    def dies(self, *epochs: int) -> None:
        """A host dies before each of these epochs, once."""
        left = list(epochs)

        def die(epoch: int) -> None:
            if left and epoch == left[0]:
                left.pop(0)
                raise KeyboardInterrupt

        self.before = die

    def train(self, job: Job | None = None) -> dict[str, Any]:
        try:
            return remote_training.train(job or self.job, self.storage, self._prepared, None)
        finally:
            assert list(self.scratch.iterdir()) == [], "something stays on the host"
            assert not self.storage.home.exists()

    def locally(self, folder: Path, **changes: Any) -> dict[str, torch.Tensor]:
        """The weights of a training on one host, not interrupted."""
        job = Job(folder / "local", "seg", CONFIG, fold=1, **changes)
        held_out.train(job, self._prepared, None)
        return load_file(job.folder / checkpoint.WEIGHTS)

    def weights(self, folder: Path, key: str = f"{FOLDS}/fold-1") -> dict[str, torch.Tensor]:
        """The weights under the URI."""
        return load_file(self.bucket.download(key, folder / "fetched") / checkpoint.WEIGHTS)


@pytest.fixture
def hosts(bucket: Bucket, prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hosts:
    return Hosts(bucket, prepared, tmp_path, monkeypatch)


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_each_host_goes_on_where_the_one_before_died(hosts: Hosts, tmp_path: Path) -> None:
    hosts.dies(1, 2)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            hosts.train()
        assert hosts.bucket.keys() == [f"{FOLDS}/fold-1.part.tar"]
    outcome = hosts.train()
    assert hosts.trained == [0, 1, 1, 2, 2]
    assert hosts.bucket.keys() == FILES
    described = json.loads(hosts.bucket.get(f"{FOLDS}/fold-1/{checkpoint.DESCRIPTION}"))
    assert described["best"]["epoch"] == 3
    assert vars(outcome) == {name: described["best"][name] for name in ("seconds", "metrics")}
    assert same(hosts.weights(tmp_path), hosts.locally(tmp_path))


def test_what_is_finished_is_not_trained_again(hosts: Hosts) -> None:
    outcome = hosts.train()
    hosts.bucket.put(f"{FOLDS}/fold-1.part.tar", b"left by a host that died then")
    assert hosts.train() == outcome
    assert hosts.trained == [0, 1, 2]
    assert hosts.bucket.keys() == FILES


def test_a_host_that_dies_before_the_weights_are_sent(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Storage.send

    def dies(self: Storage, path: Path, source: Path | None = None) -> None:
        if path.name == checkpoint.WEIGHTS:
            raise KeyboardInterrupt
        real(self, path, source)

    monkeypatch.setattr(Storage, "send", dies)
    with pytest.raises(KeyboardInterrupt):
        hosts.train()
    assert hosts.bucket.keys() == [f"{FOLDS}/fold-1.part.tar", f"{FOLDS}/fold-1/{checkpoint.DESCRIPTION}"]
    monkeypatch.setattr(Storage, "send", real)
    hosts.train()
    assert hosts.trained == [0, 1, 2, 2]
    assert hosts.bucket.keys() == FILES


def test_who_is_second_takes_what_is_there(hosts: Hosts) -> None:
    """Two ensembles that train the same model at once predict with one."""
    outcome = hosts.train(replace(hosts.job, config={**CONFIG, "seed": 1}))
    first = {key: hosts.bucket.get(key) for key in FILES}
    for key in first:
        hosts.bucket.delete(key)

    def other_ends(epoch: int) -> None:
        if epoch == 2:
            for key, content in first.items():
                hosts.bucket.put(key, content)

    hosts.before = other_ends
    assert hosts.train() == outcome
    assert hosts.bucket.keys() == FILES
    assert {key: hosts.bucket.get(key) for key in FILES} == first


def test_a_start_is_borrowed(hosts: Hosts, tmp_path: Path) -> None:
    hosts.train()
    start = hosts.job.folder
    second = Job(start.with_name("boosted"), "seg", CONFIG, fold=1, start=start)
    hosts.train(second)
    fetched = hosts.bucket.download(f"{FOLDS}/fold-1", tmp_path / "start")
    expected = hosts.locally(tmp_path, start=fetched)
    assert same(hosts.weights(tmp_path, f"{FOLDS}/boosted"), expected)
    absent = Job(start.with_name("other"), "seg", CONFIG, fold=1, start=start.with_name("absent"))
    with pytest.raises(FileNotFoundError, match=r"s3://.*/absent is not there"):
        hosts.train(absent)


@pytest.mark.parametrize("damage", ["empty", "cut", "other"])
def test_what_was_damaged_is_trained_again(hosts: Hosts, damage: str) -> None:
    hosts.dies(1)
    with pytest.raises(KeyboardInterrupt):
        hosts.train()
    (key,) = hosts.bucket.keys()
    content = hosts.bucket.get(key)
    hosts.bucket.put(key, {"empty": b"", "cut": content[: len(content) // 2], "other": b"not a tar"}[damage])
    hosts.train()
    assert hosts.trained == [0, 1, 0, 1, 2]
    assert hosts.bucket.keys() == FILES


def test_storage_that_is_away_for_a_while_costs_no_epoch(hosts: Hosts, caplog: pytest.LogCaptureFixture) -> None:
    def drops(epoch: int) -> None:
        if epoch == 0:
            hosts.bucket.drop()
        elif epoch == 1:
            hosts.bucket.make()

    hosts.before = drops
    hosts.train()
    assert hosts.trained == [0, 1, 2]
    assert hosts.bucket.keys() == FILES
    (warning,) = caplog.messages
    assert warning.startswith(f"{hosts.bucket.uri}/{FOLDS}/fold-1.part.tar: NO_SUCH_BUCKET")


def test_storage_that_is_away_at_the_end_is_no_fault_of_the_training(hosts: Hosts) -> None:
    """`Team` lets it be trained another time: an OSError is nothing that would come again for sure."""

    def drops(epoch: int) -> None:
        if epoch == 2:
            hosts.bucket.drop()

    hosts.before = drops
    with pytest.raises(OSError, match="NO_SUCH_BUCKET"):
        hosts.train()


def test_the_driver_brings_what_others_have_finished(hosts: Hosts) -> None:
    remote_training.bring(hosts.job, hosts.storage)
    assert not hosts.job.done
    outcome = hosts.train()
    remote_training.bring(hosts.job, hosts.storage)
    assert hosts.job.done
    assert hosts.job.outcome == outcome
    hosts.bucket.drop()
    remote_training.bring(hosts.job, hosts.storage)


def test_each_checkpoint_on_the_way_is_told_of_when_it_is_whole(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "SECONDS", 0.0)
    told: list[set[str]] = []

    def saved(folder: Path) -> None:
        told.append({file.name for file in folder.iterdir() if file.stat().st_size})

    held_out.train(Job(tmp_path / "fold-1", "seg", CONFIG, fold=1), prepared, None, saved=saved)
    assert told == [{checkpoint.WEIGHTS, checkpoint.DESCRIPTION, checkpoint.STATE}] * 2, (
        "not of the last, which is done"
    )


def test_in_a_folder_nothing_is_copied(prepared: Prepared, tmp_path: Path) -> None:
    job = Job(tmp_path / "fold-1", "seg", {**CONFIG, "epochs": 1}, fold=1)
    assert remote_training.train(job, Storage(tmp_path), prepared, None) == job.outcome
    assert [path.name for path in tmp_path.glob("[!.]*")] == ["fold-1"]
