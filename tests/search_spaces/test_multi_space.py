from __future__ import annotations

import pickle
from functools import partial

import optuna
import pytest

from search_spaces import multi, seg

KEYS = {
    "architecture", "encoder", "loss", "loss_weight", "optimizer", "lr", "weight_decay", "batch_size", "augmentation",
    "freeze_epochs", "warmup_epochs", "balance", "dropout", "ema", "recipe", "mask_weight", "class_loss",
    "label_smoothing", "focal_gamma", "refine",
}  # fmt: skip
ALL = tuple(multi.ARCHITECTURES)
ENCODERS = {name: entry.encoders for name, entry in multi.ARCHITECTURES.items()}
SPACE = partial(multi.suggest, architectures=ALL, encoders=ENCODERS, batch_sizes=(4, 8, 16), epochs=20)


def _configs(trials: int = 60) -> list[dict]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [SPACE(study.ask()) for _ in range(trials)]


def test_every_configuration_is_complete_flat_and_registered() -> None:
    configs = _configs()
    for config in configs:
        assert set(config) == KEYS
        assert config["encoder"] in multi.ARCHITECTURES[config["architecture"]].encoders
        assert all(isinstance(value, (str, int, float, bool)) for value in config.values())
        assert 0.2 <= config["mask_weight"] <= 0.8
        assert (config["focal_gamma"] > 0) == (config["class_loss"] == "focal")
        assert config["recipe"] == ""
    for key, values in (("balance", set(multi.BALANCES)), ("refine", {False, True})):
        assert {config[key] for config in configs} == values


def test_networks_are_those_of_segmentation_that_have_an_encoder() -> None:
    assert set(seg.ARCHITECTURES) - set(multi.ARCHITECTURES) == {"unet", "resunet"}
    with pytest.raises(ValueError, match=r"'unet'.*smp_unet"):
        multi.suggest(optuna.trial.FixedTrial({}), architectures=("unet",), encoders={}, batch_sizes=(8,), epochs=5)
    assert multi.seconds_per_image("fpn", "resnet18", 256) == seg.seconds_per_image("fpn", "resnet18", 256)


def test_the_space_pickles() -> None:
    assert pickle.loads(pickle.dumps(SPACE)).keywords == SPACE.keywords


@pytest.mark.parametrize(("trials", "count"), [(1, 1), (3, 1), (4, 2), (30, 2)])
def test_first_points_are_the_house_settings_and_their_variant(trials: int, count: int) -> None:
    points = multi.first_points(ALL, ENCODERS, trials=trials, batch_sizes=(4, 8, 16))
    configs = [SPACE(optuna.trial.FixedTrial(point)) for point in points]
    assert [config["mask_weight"] for config in configs] == [0.5, 0.6][:count]
    assert (configs[0]["architecture"], configs[0]["encoder"]) == ("smp_unet", "tf_efficientnet_lite0")
    assert {key: configs[0][key] for key in multi.HOUSE} == multi.HOUSE


def test_optuna_accepts_the_first_points() -> None:
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0, multivariate=True, group=True))
    for point in multi.first_points(ALL, ENCODERS, trials=9, batch_sizes=(8, 32)):
        study.enqueue_trial(point)
        trial = study.ask()
        SPACE.func(trial, **{**SPACE.keywords, "batch_sizes": (8, 32)})
        assert trial.params == point
