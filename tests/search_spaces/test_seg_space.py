from __future__ import annotations

import math
import pickle
import subprocess
import sys
from functools import partial

import optuna
import pytest

from search_spaces import seg
from search_spaces.recipes import RECIPES

KEYS = {
    "architecture", "encoder", "loss", "loss_weight", "optimizer", "lr", "weight_decay", "batch_size", "augmentation",
    "freeze_epochs", "warmup_epochs", "balance", "dropout", "ema", "recipe",
}  # fmt: skip
ALL = tuple(seg.ARCHITECTURES)
ENCODERS = {name: entry.encoders for name, entry in seg.ARCHITECTURES.items()}
SPACE = partial(seg.suggest, architectures=ALL, encoders=ENCODERS, batch_sizes=(4, 8, 16), epochs=20)


def _study(space: partial, trials: int = 60) -> list[dict]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [space(study.ask()) for _ in range(trials)]


def test_every_configuration_is_complete_flat_and_registered() -> None:
    for config in _study(SPACE):
        entry = seg.ARCHITECTURES[config["architecture"]]
        assert set(config) == KEYS
        assert config["balance"] in ("none", "oversample", "sampler")
        assert config["ema"] in (0.0, 0.99)
        assert config["encoder"] in (entry.encoders or ("",))
        assert all(isinstance(value, (str, int, float, bool)) for value in config.values())
        assert 0 <= config["loss_weight"] <= 1


def test_choices_are_restricted_to_what_was_asked_for() -> None:
    space = partial(
        seg.suggest,
        architectures=("fpn", "unet"),
        encoders={"fpn": ("resnet18",)},
        batch_sizes=(2,),
        epochs=3,
    )
    configs = _study(space)
    assert {(c["architecture"], c["encoder"]) for c in configs} == {("fpn", "resnet18"), ("unet", "")}
    assert {c["batch_size"] for c in configs} == {2}
    assert {c["freeze_epochs"] for c in configs} == {0}


def test_the_space_pickles_and_needs_neither_torch_nor_ray() -> None:
    assert pickle.loads(pickle.dumps(SPACE)).keywords == SPACE.keywords
    script = "import sys, search_spaces.seg; assert not {'torch', 'ray', 'optuna'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_first_points_are_the_house_default_then_the_recipes_by_cost() -> None:
    points = seg.first_points(ALL, ENCODERS, trials=9, batch_sizes=(4, 8, 16))
    configs = [SPACE(optuna.trial.FixedTrial(point)) for point in points]
    assert (configs[0]["architecture"], configs[0]["encoder"]) == ("smp_unet", "tf_efficientnet_lite0")
    assert {key: configs[0][key] for key in seg.HOUSE} == seg.HOUSE
    assert [config["recipe"] for config in configs[1:]] == ["unet", "resunet"]
    assert all(config == RECIPES[config["recipe"]].config for config in configs[1:])


@pytest.mark.parametrize("trials", [1, 2, 3, 4, 6, 7, 30])
def test_first_points_are_at_most_a_third(trials: int) -> None:
    points = seg.first_points(ALL, ENCODERS, trials=trials, batch_sizes=(8,))
    assert len(points) == min(3, max(1, math.ceil(trials / 3)))


def test_first_points_hold_only_what_is_allowed() -> None:
    assert [p["architecture"] for p in seg.first_points(("unet",), {}, trials=30, batch_sizes=(8,))] == ["unet"]
    house = seg.first_points(
        ("segformer", "fpn"), {"segformer": ("resnet18",), "fpn": ("resnet50", "resnet18")}, trials=30, batch_sizes=(8,)
    )
    assert [(p["architecture"], p["fpn.encoder"]) for p in house] == [("fpn", "resnet18")]


def test_a_recipe_with_another_batch_size_does_not_bear_its_name() -> None:
    (point,) = seg.first_points(("unet",), {}, trials=1, batch_sizes=(2, 32))
    space = partial(seg.suggest, architectures=("unet",), encoders={}, batch_sizes=(2, 32), epochs=10)
    config = space(optuna.trial.FixedTrial(point))
    assert (config["batch_size"], config["recipe"]) == (2, "")


def test_optuna_accepts_the_first_points() -> None:
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0, multivariate=True, group=True))
    for point in seg.first_points(ALL, ENCODERS, trials=9, batch_sizes=(4, 8, 16)):
        study.enqueue_trial(point)
        trial = study.ask()
        SPACE(trial)
        assert trial.params == point


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'vnet'.*unet, resunet, smp_unet"):
        seg.architecture("vnet")


def test_cost_grows_with_the_area() -> None:
    assert seg.seconds_per_image("unet", "", 256) == 4 * seg.seconds_per_image("unet", "", 128)
    # Which is padded to 128 px.
    assert seg.seconds_per_image("pan", "resnet18", 64) == seg.seconds_per_image("pan", "resnet18", 128)
