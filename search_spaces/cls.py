"""What may be sampled for classification: backbones with their costs, heads, hyperparameters, and first points."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from search_spaces.recipes import RECIPES, Config, Parameters

if TYPE_CHECKING:
    import optuna

HEADS = ("gap", "se")
LOSSES = ["ce", "focal"]
BALANCES = ("none", "oversample", "sampler", "weights")
AUGMENTATIONS = ["none", "light", "medium", "strong", "aug_s", "aug_a"]
#: `timm:NAME` stands for any other backbone of timm.
TIMM = "timm:"


@dataclass(frozen=True)
class Architecture:
    """One timm backbone; `trainables.models.cls` builds it from this entry.

    Attributes:
        name: what a user types.
        costs: seconds to train on one image of 128 px on one CPU thread (batch 8), by the timm name, which is the only
            entry. Measured; good for ratios, not for promises.
        has_map: whether it ends in a feature map, which the SE head needs; transformers do not.
    """

    name: str
    costs: Mapping[str, float]
    has_map: bool = True

    @property
    def encoders(self) -> tuple[str, ...]:
        """The timm name, alone: a backbone is its own encoder."""
        return tuple(self.costs)


def _backbone(name: str, cost: float, timm_name: str = "", *, has_map: bool = True) -> Architecture:
    return Architecture(name, {timm_name or name: cost}, has_map)


#: Backbones that build and learn at 64 and 128 px.
ARCHITECTURES: dict[str, Architecture] = {
    entry.name: entry
    for entry in (
        _backbone("tf_efficientnet_lite0", 0.019),
        _backbone("tf_efficientnet_lite1", 0.024),
        _backbone("tf_efficientnet_lite2", 0.026),
        _backbone("efficientnet_b0", 0.022),
        _backbone("mobilenetv3_small", 0.005, "mobilenetv3_small_100"),
        _backbone("mobilenetv3_large", 0.012, "mobilenetv3_large_100"),
        _backbone("resnet18", 0.023),
        _backbone("resnet34", 0.043),
        _backbone("resnet50", 0.078),
        _backbone("seresnet50", 0.083),
        _backbone("convnext_atto", 0.018),
        _backbone("convnext_femto", 0.024),
        _backbone("convnext_pico", 0.039),
        _backbone("convnext_nano", 0.065),
        _backbone("convnext_tiny", 0.111),
        _backbone("vit_tiny", 0.027, "vit_tiny_patch16_224", has_map=False),
        _backbone("vit_small", 0.099, "vit_small_patch16_224", has_map=False),
        _backbone("swin_tiny", 0.159, "swin_tiny_patch4_window7_224", has_map=False),
    )
}

#: Settings that train a pretrained network well enough to start from.
HOUSE: Config = {
    "head": "gap",
    "loss": "ce",
    "label_smoothing": 0.1,
    "focal_gamma": 0.0,
    "balance": "none",
    "optimizer": "adamw",
    "lr": 5e-4,
    "weight_decay": 1e-2,
    "batch_size": 16,
    "augmentation": "light",
    "freeze_epochs": 0,
    "freeze_lr": 1e-3,
    "dropout": 0.2,
    "ema": 0.0,
}


def architecture(name: str) -> Architecture:
    """The registry's entry; `timm:NAME` gives one that is not in it, as costly as resnet50 for want of a measurement.

    Whether timm knows NAME, and at which sizes, is for `trainables.models.cls.check_encoder` to say.

    Raises:
        ValueError: unknown name; the message lists the known ones.
    """
    if name.startswith(TIMM) and name != TIMM:
        return Architecture(name, {name.removeprefix(TIMM): 0.078}, has_map=False)
    if name not in ARCHITECTURES:
        raise ValueError(f"unknown architecture '{name}': choose from {', '.join(ARCHITECTURES)}, or {TIMM}NAME")
    return ARCHITECTURES[name]


def seconds_per_image(architecture_name: str, encoder: str, image_size: int) -> float:
    """Estimated seconds to train on one image on one CPU thread."""
    return architecture(architecture_name).costs[encoder] * (image_size / 128) ** 2


def suggest(
    trial: optuna.Trial,
    *,
    architectures: tuple[str, ...],
    encoders: Mapping[str, Sequence[str]],
    batch_sizes: tuple[int, ...],
    epochs: int,
) -> Config:
    """One complete configuration, flat, conditional on what was chosen before (define-by-run).

    A configuration whose sampled values are those of a recipe is that recipe, with whatever else belongs to it.

    Args:
        trial: an Optuna trial.
        architectures: names to choose from.
        encoders: by architecture; not read, as a backbone is its own encoder.
        batch_sizes: to choose from.
        epochs: of a trial that runs to its end; the frozen ones are a share of them.

    Raises:
        ValueError: unknown architecture.
    """
    name = trial.suggest_categorical("architecture", architectures)
    entry = architecture(name)
    loss = trial.suggest_categorical("loss", LOSSES)
    balance = trial.suggest_categorical("balance", BALANCES)
    sampled = {
        "architecture": name,
        "encoder": entry.encoders[0],
        "head": trial.suggest_categorical("head", HEADS) if entry.has_map else "gap",
        "loss": loss,
        "label_smoothing": trial.suggest_float("label_smoothing", 0.0, 0.2) if loss == "ce" else 0.0,
        "focal_gamma": trial.suggest_float("focal_gamma", 0.5, 4.0) if loss == "focal" else 0.0,
        "balance": balance,
        "weight_decay": trial.suggest_float("weight_decay", 1e-6, 1e-1, log=True),
        "batch_size": trial.suggest_categorical("batch_size", batch_sizes),
        # Oversampling shows the same image several times an epoch: always in another way.
        "augmentation": trial.suggest_categorical("oversample.augmentation", AUGMENTATIONS[1:])
        if balance == "oversample"
        else trial.suggest_categorical("augmentation", AUGMENTATIONS),
        "dropout": trial.suggest_float("dropout", 0.0, 0.5),
        "ema": trial.suggest_categorical("ema", (0.0, 0.99)),
        **_rates(trial, epochs),
    }
    for recipe in RECIPES.values():
        if recipe.task == "cls" and _agrees(sampled, recipe.scaled(epochs)):
            return recipe.scaled(epochs)
    return {**sampled, "warmup_epochs": int(epochs >= 5), "recipe": ""}


def _rates(trial: optuna.Trial, epochs: int) -> Config:
    """Optimiser, learning rates and frozen epochs: one stage, or the head first and then, more slowly, all."""
    optimizer = trial.suggest_categorical("optimizer", ("adamw", "adam", "sgd"))
    if trial.suggest_categorical("two_stages", (False, True)):
        return {
            "optimizer": optimizer,
            # A share of the epochs; on a log scale, as a head is soon trained and few want the whole trial frozen.
            "freeze_epochs": round(epochs * trial.suggest_float("frozen", 0.1, 1.0, log=True)),
            "freeze_lr": trial.suggest_float("freeze_lr", 1e-4, 1e-2, log=True),
            "lr": trial.suggest_float("thawed.lr", 1e-5, 1e-3, log=True),
        }
    rate = ("sgd.lr", 1e-3, 1e-1) if optimizer == "sgd" else ("lr", 3e-5, 3e-3)
    return {
        "optimizer": optimizer,
        "freeze_epochs": 0,
        "freeze_lr": HOUSE["freeze_lr"],
        "lr": trial.suggest_float(*rate, log=True),
    }


def _agrees(sampled: Config, recipe: Config) -> bool:
    """Whether a recipe has these values. No weight decay at all is the least that can be sampled."""
    return all(
        math.isclose(value, recipe[key], abs_tol=1.01e-6) if isinstance(value, float) else value == recipe[key]
        for key, value in sampled.items()
    )


def first_points(
    architectures: tuple[str, ...], encoders: Mapping[str, Sequence[str]], trials: int, batch_sizes: tuple[int, ...]
) -> list[Parameters]:
    """Parameters, under the names of `suggest`, of the trials that a search begins with.

    First the house settings on tf_efficientnet_lite0, or else on the cheapest backbone that the search allows; then the
    recipes of allowed backbones, cheapest first; at most a third of the trials, rounded up. A batch size that the
    search does not allow becomes the nearest one that it does, and the trial no longer bears the recipe's name.
    """
    house = "tf_efficientnet_lite0"
    if house not in architectures:
        house = min(architectures, key=lambda name: _cost(architecture(name)))
    recipes = [r for r in RECIPES.values() if r.task == "cls" and r.config["architecture"] in architectures]
    recipes.sort(key=lambda recipe: _cost(architecture(recipe.config["architecture"])))
    configs = [({"architecture": house, **HOUSE}, 1), *((recipe.config, recipe.epochs) for recipe in recipes)]
    points = []
    for config, epochs in configs[: max(1, math.ceil(trials / 3))]:
        answers = _Answers(config, epochs)
        suggest(
            answers,  # type: ignore[arg-type]
            architectures=architectures,
            encoders=encoders,
            batch_sizes=batch_sizes,
            epochs=epochs,
        )
        points.append(answers.params)
    return points


def _cost(entry: Architecture) -> float:
    return entry.costs[entry.encoders[0]]


class _Answers:
    """Stands in for an Optuna trial: answers with a configuration's values, or the nearest allowed, and notes them."""

    def __init__(self, config: Config, epochs: int) -> None:
        frozen = config["freeze_epochs"] / epochs
        self.config = {**config, "two_stages": frozen > 0, "frozen": frozen}
        self.params: Parameters = {}

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        value = self.config[name.split(".")[-1]]
        self.params[name] = value if value in choices else min(choices, key=lambda choice: abs(choice - value))
        return self.params[name]

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        value: float = min(max(self.config[name.split(".")[-1]], low), high)
        self.params[name] = value
        return value
