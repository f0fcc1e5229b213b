"""Every search space: each point it suggests is a configuration that builds, and that trains."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
import torch

from search_spaces import SPACES, recipes
from trainables.data import Prepared
from trainables.tasks import make_task
from trainables.training import Training

EPOCHS, BATCHES = 12, (8, 16, 32)
REQUIRED = {
    *("architecture", "encoder", "loss", "optimizer", "lr", "weight_decay", "batch_size", "augmentation"),
    *("freeze_epochs", "warmup_epochs", "balance", "ema", "recipe"),
}


def sample(task: str, count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Random points of the whole space, with the constants that a search adds."""
    space = SPACES[task]
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    encoders = {name: entry.encoders for name, entry in space.ARCHITECTURES.items()}
    options = {"architectures": tuple(encoders), "encoders": encoders, "batch_sizes": BATCHES, "epochs": EPOCHS}
    points = [space.suggest(study.ask(), **options) for _ in range(count)]
    return [{**point, "epochs": EPOCHS, "seed": 0, "classes": 3, "image_size": 64} for point in points]


@pytest.mark.slow
@pytest.mark.parametrize("task", SPACES)
def test_200_points_build_a_model_without_memory(task: str) -> None:
    for point in sample(task, 200):
        assert set(point) >= REQUIRED
        assert not [name for name in point if "." in name]
        with torch.device("meta"):
            model = make_task(task, 3).build(point)
        assert sum(p.numel() for p in model.parameters()) > 10_000


@pytest.mark.slow
@pytest.mark.parametrize("task", SPACES)
def test_15_points_train_a_step(task: str, prepared: Prepared) -> None:
    torch.set_num_threads(1)
    for point in sample(task, 15, seed=1):
        training = Training(task, {**point, "batch_size": 4}, prepared)
        training.training_masks = training.training_masks[:4]
        result = training.train_epoch()
        assert result["train/loss"] == result["train/loss"]


@pytest.mark.parametrize("task", SPACES)
def test_first_points_start_at_the_house_and_keep_to_a_third(task: str) -> None:
    space = SPACES[task]
    encoders = {name: entry.encoders for name, entry in space.ARCHITECTURES.items()}
    for trials in (1, 3, 6, 20, 60):
        points = space.first_points(tuple(encoders), encoders, trials, BATCHES)
        assert 1 <= len(points) <= max(1, -(-trials // 3))
    study = optuna.create_study()
    options = {"architectures": tuple(encoders), "encoders": encoders, "batch_sizes": BATCHES, "epochs": 60}
    for point in points:
        study.enqueue_trial(point)
        trial = study.ask()
        suggested = space.suggest(trial, **options)
        assert {name: trial.params[name] for name in point} == point  # each value lies within the space
        assert suggested["architecture"] == point["architecture"]


def test_recipes_are_complete() -> None:
    assert len(recipes.RECIPES) == 9
    for recipe in recipes.RECIPES.values():
        assert set(recipe.config) >= REQUIRED
        make_task(recipe.task, 3).build({**recipe.config, "image_size": 64, "classes": 3})
        scaled = recipe.scaled(6)
        assert scaled["freeze_epochs"] <= 6
        assert recipe.scaled(recipe.epochs) == dict(recipe.config)
