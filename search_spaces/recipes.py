"""Recipes: complete configurations of the reference notebooks; a search tries them early."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Recipe:
    """A named configuration.

    Attributes:
        name: the recipe's name, also `config["recipe"]`.
        task: the task that it belongs to.
        image_size: pixels, as published; a search trains every trial at its own size.
        epochs: as published; a search gives every trial its own number.
        config: the complete configuration that `suggest` of its task can return.
    """

    name: str
    task: str
    image_size: int
    epochs: int
    config: Mapping[str, Any]


def _from_scratch(name: str, *, image_size: int, weight_decay: float, dropout: float) -> Recipe:
    """What the two segmentation notebooks share: Adam at 1e-4, batches of 8, cross-entropy + Dice 1:1, AUG_S.

    Their L2 penalty is the weight decay of Adam: coupled to the gradient, as theirs is, and unlike AdamW's.
    """
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
        "balance": False,
        "dropout": dropout,
        "recipe": name,
    }
    return Recipe(name, "seg", image_size, 100, config)


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        # The notebook names no dropout rate; .1 is the usual one of this network.
        _from_scratch("unet", image_size=256, weight_decay=1e-3, dropout=0.1),
        _from_scratch("resunet", image_size=128, weight_decay=1e-4, dropout=0.0),
    )
}
