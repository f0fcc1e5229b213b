from __future__ import annotations

import math
import pickle
import subprocess
import sys
from functools import partial

import optuna
import pytest

from search_spaces import cls
from search_spaces.recipes import RECIPES

KEYS = {
    "architecture", "encoder", "head", "loss", "label_smoothing", "focal_gamma", "balance", "optimizer", "lr",
    "weight_decay", "batch_size", "augmentation", "freeze_epochs", "freeze_lr", "dropout", "ema", "warmup_epochs",
    "recipe",
}  # fmt: skip
ALL = tuple(cls.ARCHITECTURES)
ENCODERS = {name: entry.encoders for name, entry in cls.ARCHITECTURES.items()}
OPTIONS = {"architectures": ALL, "encoders": ENCODERS, "batch_sizes": (8, 16, 32)}
SPACE = partial(cls.suggest, **OPTIONS, epochs=20)
PUBLISHED = [recipe for recipe in RECIPES.values() if recipe.task == "cls"]


def _study(space: partial, trials: int = 300) -> list[dict]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [space(study.ask()) for _ in range(trials)]


def test_every_configuration_is_complete_flat_and_registered() -> None:
    configs = _study(SPACE)
    for config in configs:
        assert set(config) == KEYS
        assert (config["encoder"],) == cls.ARCHITECTURES[config["architecture"]].encoders
        assert all(isinstance(value, (str, int, float)) for value in config.values())
        assert 0 <= config["freeze_epochs"] <= 20
        assert (config["focal_gamma"] > 0) == (config["loss"] == "focal")
    assert {config["architecture"] for config in configs} == set(ALL)
    assert {config["balance"] for config in configs} == set(cls.BALANCES)


def test_oversampled_images_are_always_augmented() -> None:
    configs = _study(SPACE)
    oversampled = {config["augmentation"] for config in configs if config["balance"] == "oversample"}
    assert oversampled == set(cls.AUGMENTATIONS) - {"none"}
    assert "none" in {config["augmentation"] for config in configs}


def test_the_se_head_is_kept_from_transformers() -> None:
    heads = {(config["architecture"], config["head"]) for config in _study(SPACE)}
    assert ("resnet18", "se") in heads
    assert {head for name, head in heads if name.startswith(("vit", "swin"))} == {"gap"}


def test_the_space_pickles_and_needs_neither_torch_nor_ray() -> None:
    assert pickle.loads(pickle.dumps(SPACE)).keywords == SPACE.keywords
    script = "import sys, search_spaces.cls; assert not {'torch', 'ray', 'optuna', 'timm'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_first_points_are_the_house_default_then_the_recipes_by_cost() -> None:
    points = cls.first_points(trials=30, **OPTIONS)
    configs = [SPACE(optuna.trial.FixedTrial(point)) for point in points]
    assert configs[0]["architecture"] == "tf_efficientnet_lite0"
    assert {key: configs[0][key] for key in cls.HOUSE} == cls.HOUSE
    costs = [cls.seconds_per_image(config["architecture"], config["encoder"], 128) for config in configs[1:]]
    assert costs == sorted(costs)
    assert len(configs) == 1 + len(PUBLISHED)


@pytest.mark.parametrize("epochs", [3, 12, 60])
def test_a_recipe_among_the_first_points_is_the_whole_recipe_scaled(epochs: int) -> None:
    space = partial(cls.suggest, **{**OPTIONS, "batch_sizes": (8, 16, 32, 64)}, epochs=epochs)
    points = cls.first_points(trials=30, **{**OPTIONS, "batch_sizes": (8, 16, 32, 64)})
    configs = [space(optuna.trial.FixedTrial(point)) for point in points[1:]]
    assert sorted(config["recipe"] for config in configs) == sorted(recipe.name for recipe in PUBLISHED)
    assert all(config == RECIPES[config["recipe"]].scaled(epochs) for config in configs)


def test_a_recipe_with_another_batch_size_does_not_bear_its_name() -> None:
    options = {**OPTIONS, "architectures": ("resnet50",), "batch_sizes": (8, 32)}
    point = cls.first_points(trials=4, **options)[1]
    config = cls.suggest(optuna.trial.FixedTrial(point), **options, epochs=50)
    assert (config["batch_size"], config["recipe"], config["freeze_epochs"]) == (32, "", 10)


@pytest.mark.parametrize("trials", [1, 2, 3, 4, 6, 7, 30])
def test_first_points_are_at_most_a_third(trials: int) -> None:
    assert len(cls.first_points(trials=trials, **OPTIONS)) == min(1 + len(PUBLISHED), math.ceil(trials / 3))


def test_first_points_hold_only_what_is_allowed() -> None:
    options = {**OPTIONS, "architectures": ("convnext_tiny", "resnet18")}
    names = [point["architecture"] for point in cls.first_points(trials=30, **options)]
    assert names == ["resnet18"] + ["convnext_tiny"] * 3


def test_optuna_accepts_the_first_points() -> None:
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0, multivariate=True, group=True))
    for point in cls.first_points(trials=30, **OPTIONS):
        study.enqueue_trial(point)
        trial = study.ask()
        SPACE(trial)
        assert trial.params == point


def test_any_other_backbone_of_timm_has_an_entry() -> None:
    entry = cls.architecture("timm:regnety_008")
    assert (entry.name, entry.encoders, entry.has_map) == ("timm:regnety_008", ("regnety_008",), False)
    options = {**OPTIONS, "architectures": ("timm:regnety_008",), "encoders": {}}
    assert {config["encoder"] for config in _study(partial(cls.suggest, **options, epochs=5), 20)} == {"regnety_008"}
    assert cls.first_points(trials=3, **options)[0]["architecture"] == "timm:regnety_008"


@pytest.mark.parametrize("name", ["lenet", "timm:"])
def test_unknown_names_list_the_known_ones(name: str) -> None:
    with pytest.raises(ValueError, match=r"unknown architecture.*tf_efficientnet_lite0.*timm:NAME"):
        cls.architecture(name)


def test_cost_grows_with_the_area() -> None:
    small, large = (cls.seconds_per_image("resnet18", "resnet18", size) for size in (128, 256))
    assert large == 4 * small
