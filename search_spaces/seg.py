"""What may be sampled for segmentation: architectures, their encoders and costs, hyperparameters, and first points."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from search_spaces.recipes import RECIPES, Config, Parameters

if TYPE_CHECKING:
    import optuna

#: Architecture -> timm names of the encoders that a search may choose from.
Encoders = Mapping[str, tuple[str, ...]]

REGION_LOSSES = ("dice", "tversky", "lovasz")
#: Of a region term and a pixel term, whose weight is sampled.
MIXED_LOSSES = ("dice_bce", "dice_focal", "tversky_bce", "tversky_focal", "lovasz_bce")
LOSSES = ["bce", "focal", *REGION_LOSSES, *MIXED_LOSSES]
AUGMENTATIONS = ["none", "light", "medium", "strong", "aug_s", "aug_a"]
#: How classes are balanced: not at all, by visiting small ones again, or by drawing each as often as the others.
BALANCES = ("none", "oversample", "sampler")
#: Decay of the moving average of the weights; 0 is none.
EMA_DECAYS = (0.0, 0.99)


@dataclass(frozen=True)
class Architecture:
    """One segmentation network; `trainables.models.seg` builds it from this entry.

    Attributes:
        name: what a user types.
        builder: class in segmentation_models_pytorch, or in `trainables.models.blocks` for a from-scratch network; or
            what is called as these are (see `trainables.models.seg.build`).
        costs: seconds to train on one image of 128 px on one CPU thread (batch 8), by encoder, the reference encoder
            first; the one entry of a from-scratch network is "". Measured; good for ratios, not for promises.
        widths: channels by level of a from-scratch network.
        smallest: least side in pixels that the network can take; the model pads smaller images to it.
    """

    name: str
    builder: str | Callable[..., Any]
    costs: Mapping[str, float]
    widths: tuple[int, ...] = ()
    smallest: int = 32

    @property
    def encoders(self) -> tuple[str, ...]:
        """timm names of the encoders that were tried with it; empty for a from-scratch network."""
        return tuple(encoder for encoder in self.costs if encoder)

    @property
    def cost(self) -> float:
        """Cost with its reference encoder."""
        return next(iter(self.costs.values()))


#: Encoders that build and learn at 64 and 128 px in every architecture below. Costs of tf_efficientnet_lite1 are
#: measured (CPU seconds) in smp_unet, fpn and deeplabv3plus: .70 to .79 of the way from lite0 to lite2; .7 elsewhere.
_TRIED = (
    "tf_efficientnet_lite0",
    "mobilenetv3_large_100",
    "efficientnet_b0",
    "tf_efficientnet_lite1",
    "tf_efficientnet_lite2",
    "regnety_008",
    "resnet18",
    "resnet34",
    "convnext_tiny",
    "resnet50",
)


def _costs(*seconds: float) -> dict[str, float]:
    return dict(zip(_TRIED, seconds, strict=True))


ARCHITECTURES: dict[str, Architecture] = {
    entry.name: entry
    for entry in (
        Architecture("unet", "UNet", {"": 0.022}, widths=(16, 32, 64)),
        Architecture("resunet", "ResUNet", {"": 0.483}, widths=(64, 128, 256, 512, 1024)),
        Architecture("smp_unet", "Unet", _costs(0.040, 0.038, 0.044, 0.046, 0.049, 0.050, 0.052, 0.069, 0.141, 0.145)),
        Architecture("fpn", "FPN", _costs(0.039, 0.030, 0.039, 0.044, 0.045, 0.043, 0.042, 0.067, 0.132, 0.099)),
        Architecture(
            "deeplabv3plus",
            "DeepLabV3Plus",
            _costs(0.052, 0.046, 0.055, 0.064, 0.069, 0.053, 0.057, 0.074, 0.202, 0.159),
        ),
        Architecture(
            "segformer", "Segformer", _costs(0.059, 0.054, 0.057, 0.065, 0.067, 0.062, 0.066, 0.085, 0.147, 0.125)
        ),
        Architecture(
            "unetplusplus", "UnetPlusPlus", _costs(0.049, 0.047, 0.051, 0.055, 0.057, 0.091, 0.136, 0.156, 0.180, 0.493)
        ),
        Architecture("manet", "MAnet", _costs(0.039, 0.069, 0.042, 0.045, 0.048, 0.065, 0.058, 0.078, 0.165, 0.393)),
        Architecture(
            "linknet", "Linknet", _costs(0.022, 0.018, 0.025, 0.028, 0.030, 0.030, 0.031, 0.050, 0.122, 0.110)
        ),
        # Stops at three levels of its encoder, so most of the pretrained weights are not in it.
        Architecture("pspnet", "PSPNet", _costs(0.010, 0.008, 0.011, 0.012, 0.013, 0.012, 0.015, 0.021, 0.045, 0.043)),
        # Halves the encoder's last map, 1/16 of the image, three times more.
        Architecture(
            "pan", "PAN", _costs(0.039, 0.023, 0.041, 0.050, 0.055, 0.032, 0.033, 0.058, 0.168, 0.110), smallest=128
        ),
        Architecture(
            "deeplabv3", "DeepLabV3", _costs(0.133, 0.110, 0.144, 0.171, 0.188, 0.124, 0.108, 0.172, 0.572, 0.386)
        ),
        Architecture(
            "upernet", "UPerNet", _costs(0.122, 0.122, 0.126, 0.127, 0.129, 0.137, 0.135, 0.154, 0.222, 0.201)
        ),
    )
}

#: Settings that train a pretrained network well enough to start from.
HOUSE = {
    "loss": "dice_bce",
    "loss_weight": 0.5,
    "optimizer": "adamw",
    "lr": 1e-3,
    "weight_decay": 1e-4,
    "batch_size": 16,
    "augmentation": "light",
    "freeze_epochs": 0,
    "balance": "none",
    "ema": 0.0,
}


def architecture(name: str, known: Mapping[str, Architecture] = ARCHITECTURES) -> Architecture:
    """The entry of a registry.

    Raises:
        ValueError: unknown name; the message lists the known ones.
    """
    if name not in known:
        raise ValueError(f"unknown architecture '{name}': choose from {', '.join(known)}")
    return known[name]


def seconds_per_image(architecture_name: str, encoder: str, image_size: int) -> float:
    """Estimated seconds to train on one image on one CPU thread."""
    entry = architecture(architecture_name)
    return entry.costs[encoder] * (max(image_size, entry.smallest) / 128) ** 2


def offered(name: str, encoders: Encoders) -> tuple[str, ...]:
    """Encoders, in the registry's order, that both the architecture has and the search allows."""
    return tuple(encoder for encoder in architecture(name).encoders if encoder in encoders.get(name, ()))


def suggest(
    trial: optuna.Trial,
    *,
    architectures: tuple[str, ...],
    encoders: Encoders,
    batch_sizes: tuple[int, ...],
    epochs: int,
    balances: tuple[str, ...] = BALANCES,
) -> Config:
    """One complete configuration, flat, conditional on the architecture (define-by-run).

    Args:
        trial: an Optuna trial.
        architectures: names to choose from.
        encoders: timm names to choose from, by architecture; a from-scratch one needs no entry.
        batch_sizes: to choose from.
        epochs: of a trial that runs to its end; bounds the frozen ones.
        balances: ways to balance the classes to choose from.

    Raises:
        ValueError: unknown architecture, or one with encoders of which none is allowed.
    """
    name = trial.suggest_categorical("architecture", architectures)
    entry = architecture(name)
    encoder = trial.suggest_categorical(f"{name}.encoder", offered(name, encoders)) if entry.encoders else ""
    loss = trial.suggest_categorical("loss", LOSSES)
    optimizer = trial.suggest_categorical("optimizer", ("adamw", "adam", "sgd"))
    config = {
        "architecture": name,
        "encoder": encoder,
        "loss": loss,
        "loss_weight": trial.suggest_float("loss_weight", 0.2, 0.8)
        if loss in MIXED_LOSSES
        else float(loss in REGION_LOSSES),
        "optimizer": optimizer,
        "lr": trial.suggest_float("sgd.lr", 1e-3, 1e-1, log=True)
        if optimizer == "sgd"
        else trial.suggest_float("lr", 3e-5, 3e-3, log=True),
        "weight_decay": trial.suggest_float("weight_decay", 1e-6, 1e-1, log=True),
        "batch_size": trial.suggest_categorical("batch_size", batch_sizes),
        "augmentation": trial.suggest_categorical("augmentation", AUGMENTATIONS),
        "freeze_epochs": trial.suggest_int("freeze_epochs", 0, min(5, epochs // 4)) if encoder else 0,
        "warmup_epochs": int(bool(encoder) and epochs >= 5),
        "balance": trial.suggest_categorical("balance", balances),
        "dropout": 0.0 if encoder else trial.suggest_float(f"{name}.dropout", 0.0, 0.5),
        "ema": trial.suggest_categorical("ema", EMA_DECAYS),
    }
    for recipe in RECIPES.values():
        if recipe.task == "seg" and all(recipe.config[key] == value for key, value in config.items()):
            return dict(recipe.config)  # with what no search samples, such as its schedule
    return {**config, "recipe": ""}


def first_points(
    architectures: tuple[str, ...], encoders: Encoders, trials: int, batch_sizes: tuple[int, ...]
) -> list[Parameters]:
    """Parameters, under the names of `suggest`, of the trials that a search begins with.

    First the house settings on U-Net with the lightest encoder (or the nearest to it that the search allows), then the
    recipes of allowed architectures, cheapest first; at most a third of the trials, rounded up. A batch size that the
    search does not allow becomes the nearest one that it does, and the trial no longer bears the recipe's name.
    """
    configs = []
    start = house_start(architectures, encoders)
    if start:
        configs.append({**start, **HOUSE})
    recipes = [
        recipe for recipe in RECIPES.values() if recipe.task == "seg" and recipe.config["architecture"] in architectures
    ]
    recipes.sort(key=lambda recipe: seconds_per_image(recipe.config["architecture"], recipe.config["encoder"], 128))
    configs += [dict(recipe.config) for recipe in recipes]
    return [point(config, batch_sizes) for config in configs[: max(1, math.ceil(trials / 3))]]


def house_start(architectures: tuple[str, ...], encoders: Encoders) -> dict[str, str]:
    """Architecture and encoder of the house settings: U-Net if it is allowed, else the cheapest; may be empty."""
    pretrained = [name for name in architectures if offered(name, encoders)]
    if not pretrained:
        return {}
    name = "smp_unet" if "smp_unet" in pretrained else min(pretrained, key=lambda name: architecture(name).cost)
    return {"architecture": name, "encoder": offered(name, encoders)[0]}


def point(config: Config, batch_sizes: tuple[int, ...]) -> Parameters:
    """The parameters from which `suggest` makes this configuration, but for its batch size: the nearest allowed one."""
    name = config["architecture"]
    shared = ("architecture", "loss", "loss_weight", "optimizer", "weight_decay", "augmentation", "balance", "ema")
    conditional = ("encoder", "freeze_epochs") if config["encoder"] else ("dropout",)
    own = {key if key == "freeze_epochs" else f"{name}.{key}": config[key] for key in conditional}
    rate = "sgd.lr" if config["optimizer"] == "sgd" else "lr"
    batch_size = min(batch_sizes, key=lambda size: abs(size - config["batch_size"]))
    return {**{key: config[key] for key in shared}, **own, rate: config["lr"], "batch_size": batch_size}
