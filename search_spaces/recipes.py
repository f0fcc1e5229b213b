"""Recipes: complete configurations of the reference notebooks. A search tries some first; `--recipes-only` all.

The Keras ones are reproduced in PyTorch: an L2 penalty becomes the weight decay of Adam or SGD, coupled to the gradient
as theirs is; early stopping watches the task's primary metric. None clips gradients.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

#: A trial's configuration, flat: what `suggest` returns. Its values are plain: str, int, float or bool.
Config = dict[str, Any]
#: What Optuna calls the parameters of a trial: the values that `suggest` sampled, by the names it gave them.
Parameters = dict[str, Any]


@dataclass(frozen=True)
class Recipe:
    """A named configuration.

    Attributes:
        name: the recipe's name, also `config["recipe"]`.
        task: the task that it belongs to.
        image_size: pixels, as published.
        epochs: as published.
        config: the complete configuration at these epochs.
        reported: what its notebook reported on its leaky split, in words.
    """

    name: str
    task: str
    image_size: int
    epochs: int
    config: Config
    reported: str

    def scaled(self, epochs: int) -> Config:
        """The configuration for another number of epochs: the frozen share stays the same."""
        frozen = round(self.config["freeze_epochs"] * epochs / self.epochs)
        return {**self.config, "freeze_epochs": frozen}


def _segmentation(name: str, reported: str, *, image_size: int, weight_decay: float, dropout: float) -> Recipe:
    """What the two segmentation notebooks share: Adam at 1e-4, batches of 8, cross-entropy + Dice 1:1, AUG_S."""
    config = {
        "architecture": name,
        "encoder": "",
        "loss": "dice_bce",
        "loss_weight": 0.5,
        "optimizer": "adam",
        "lr": 1e-4,
        "weight_decay": weight_decay,
        "batch_size": 8,
        "augmentation": "aug_s",
        "freeze_epochs": 0,
        "warmup_epochs": 0,
        "balance": "none",
        "dropout": dropout,
        "ema": 0.0,
        "schedule": "constant",
        "clip": 0.0,
        "recipe": name,
    }
    return Recipe(name, "seg", image_size, 100, config, reported)


#: What the classification notebooks share, before each one's own values.
_CLASSIFICATION = {
    "head": "gap",
    "loss": "ce",
    "focal_gamma": 0.0,
    "label_smoothing": 0.0,
    "balance": "none",
    "optimizer": "adamw",
    "lr": 1e-4,
    "weight_decay": 0.01,
    "batch_size": 32,
    "augmentation": "aug_a",
    "freeze_epochs": 0,
    "freeze_lr": 1e-3,
    "warmup_epochs": 0,
    "dropout": 0.0,
    "ema": 0.0,
    "clip": 0.0,
}


def _classification(name: str, encoder: str, epochs: int, reported: str, **own: Any) -> Recipe:
    config = {**_CLASSIFICATION, "architecture": encoder, "encoder": encoder, **own, "recipe": name}
    return Recipe(name, "cls", 224, epochs, config, reported)


_FOCAL = {"loss": "focal", "focal_gamma": 2.0}
_BALANCED = {**_FOCAL, "balance": "weights"}

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        _classification(
            "resnet50_se_head",
            "resnet50",
            50,
            "accuracy .802 / .820, macro-F1 .816, AUC .922",
            **_FOCAL,
            head="se",
            dropout=0.5,
            batch_size=64,
            optimizer="sgd",
            lr=1e-5,
            weight_decay=0.0,
            head_weight_decay=0.1,  # Keras' l2(.05) adds .05 w^2, whose gradient is .1 w
            freeze_epochs=10,
            thawed_part="last",
            schedule="constant",
            early_stop=3,
            augmentation="none",
        ),
        _classification(
            "efficientnet_b0",
            "efficientnet_b0",
            50,
            "accuracy .755 / .772, macro-F1 .768, AUC .910",
            dropout=0.2,
            optimizer="adam",
            lr=1e-3,
            weight_decay=0.0,
            freeze_epochs=50,
            early_stop=5,
            augmentation="none",
        ),
        _classification(
            "efficientnet_b0_se",
            "efficientnet_b0",
            60,
            "accuracy .874, macro-F1 .873, AUC .97",
            **_BALANCED,
            head="se",
            dropout=0.2,
            freeze_epochs=10,
        ),
        _classification(
            "seresnet50",
            "seresnet50",
            60,
            "accuracy .868, macro-F1 .859, AUC .97",
            **_BALANCED,
            freeze_epochs=10,
            frozen_part="se",
        ),
        _classification("convnext_tiny", "convnext_tiny", 50, "accuracy .922, macro-F1 .916, AUC .98"),
        _classification(
            "convnext_tiny_sgd",
            "convnext_tiny",
            50,
            "accuracy .868, macro-F1 .858, AUC .96",
            optimizer="sgd",
            lr=1e-3,
        ),
        _classification(
            "convnext_tiny_se",
            "convnext_tiny",
            60,
            "accuracy .892, macro-F1 .885, AUC .99",
            **_FOCAL,
            head="se",
            freeze_epochs=10,
        ),
        # The notebook names no dropout rate; .1 is the usual one of this network.
        _segmentation("unet", "validation 'Dice' .936", image_size=256, weight_decay=1e-3, dropout=0.1),
        _segmentation("resunet", "validation 'Dice' .941", image_size=128, weight_decay=1e-4, dropout=0.0),
    )
}


def names(task: str) -> tuple[str, ...]:
    """The recipes of a task."""
    return tuple(name for name, recipe in RECIPES.items() if recipe.task == task)


def suggest(trial: Any, *, recipes: tuple[str, ...], epochs: int) -> Config:
    """A recipe's configuration, the recipe itself being the only parameter. `epochs` 0: each recipe's own."""
    recipe = RECIPES[trial.suggest_categorical("recipe", recipes)]
    count = epochs or recipe.epochs
    return {**recipe.scaled(count), "epochs": count}
