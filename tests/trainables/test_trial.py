"""The shell that Ray runs: one trial's memory at a time, and a full disk named as such."""

from __future__ import annotations

import errno
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch

from search_spaces import seg
from trainables import checkpoint, trial
from trainables.data import Prepared
from trainables.trial import Trial, TrialContext

CONFIG: dict[str, Any] = {
    **seg.HOUSE,
    **{"architecture": "unet", "encoder": "", "dropout": 0.1, "batch_size": 8, "ema": 0.9},
    **{"warmup_epochs": 0, "epochs": 2, "classes": 3, "seed": 0},
}


@pytest.fixture
def trained(prepared: Prepared) -> Trial:
    """A trial after its first epoch."""
    one = Trial.__new__(Trial)
    one.setup(CONFIG, TrialContext("seg", prepared))
    assert one.step()["best/epoch"] == 1
    return one


def test_nothing_of_a_trial_is_held_when_the_next_is_built(trained: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    old = trained.training
    moments = [value for state in old.optimizer.state.values() for value in state.values()]
    held = [old, old.model, old.averaged, old.optimizer, old.scheduler, *old.model.parameters(), *moments]
    held += [parameter.grad for parameter in old.model.parameters()] + list(trained.weights.values())
    references = [weakref.ref(thing) for thing in held]
    assert len(references) > 50
    del old, moments, held
    built = trial.Training
    alive: list[Any] = []

    def build(*args: Any, **options: Any) -> Any:
        alive.extend(reference() for reference in references)
        return built(*args, **options)

    monkeypatch.setattr(trial, "Training", build)
    assert trained.reset_config(CONFIG | {"seed": 1})
    assert len(alive) == len(references)
    assert not any(thing is not None for thing in alive)
    assert trained.step()["best/epoch"] == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the device that is always full is Linux's")
@pytest.mark.parametrize("name", [checkpoint.WEIGHTS, checkpoint.DESCRIPTION, checkpoint.STATE])
def test_a_full_disk_is_named_and_not_left_fuller(trained: Trial, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / name).symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device for the checkpoint of epoch 1") as caught:
        trained.save_checkpoint(str(folder))
    assert caught.value.errno == errno.ENOSPC
    assert not folder.exists()
    folder.mkdir()
    trained.save_checkpoint(str(folder))
    assert torch.load(folder / checkpoint.STATE, weights_only=True)["epoch"] == 1


def test_other_faults_of_a_disk_stay_what_they_are(trained: Trial, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        trained.save_checkpoint(str(tmp_path / "absent"))


def test_a_trial_that_cannot_be_built_in_a_warm_worker_fails_where_it_is_tried_again(
    trained: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(*args: Any, **options: Any) -> Any:
        raise torch.OutOfMemoryError("a neighbour has the memory")

    with monkeypatch.context() as patched:
        patched.setattr(trial, "Training", build)
        assert trained.reset_config(CONFIG)
        with pytest.raises(torch.OutOfMemoryError, match="a neighbour"):
            trained.step()
        assert trained.reset_config(CONFIG)
        with pytest.raises(torch.OutOfMemoryError, match="a neighbour"):
            trained.load_checkpoint(str(tmp_path))
    assert trained.reset_config(CONFIG)
    assert trained.step()["best/epoch"] == 1
