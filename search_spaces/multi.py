"""What may be sampled for multi-task learning: segmentation's space, a class head, its loss and the tasks' weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search_spaces import cls, seg
from search_spaces.recipes import Config, Parameters

if TYPE_CHECKING:
    import optuna

#: Networks with an encoder: the class head sits on its last feature map and costs next to nothing.
ARCHITECTURES: dict[str, seg.Architecture] = {
    name: entry for name, entry in seg.ARCHITECTURES.items() if entry.encoders
}

#: Of the mask, and of the class.
LOSSES, CLASS_LOSSES = seg.LOSSES, cls.LOSSES
#: Segmentation's ways to balance the classes, and weights in the class loss.
BALANCES = (*seg.BALANCES, "weights")

#: Settings that train a pretrained network well enough to start from.
HOUSE = {
    **seg.HOUSE,
    "dropout": 0.2,
    "mask_weight": 0.5,
    "class_loss": "ce",
    "label_smoothing": 0.0,
    "focal_gamma": 0.0,
    "refine": False,
}
#: The same with more weight on the mask and stronger augmentation.
SECOND = {**HOUSE, "mask_weight": 0.6, "augmentation": "medium"}


def architecture(name: str) -> seg.Architecture:
    """The registry's entry. Raises ValueError for an unknown name, listing the known ones."""
    return seg.architecture(name, ARCHITECTURES)


def seconds_per_image(architecture_name: str, encoder: str, image_size: int) -> float:
    """Estimated seconds to train on one image on one CPU thread."""
    return seg.seconds_per_image(architecture(architecture_name).name, encoder, image_size)


def suggest(
    trial: optuna.Trial,
    *,
    architectures: tuple[str, ...],
    encoders: seg.Encoders,
    batch_sizes: tuple[int, ...],
    epochs: int,
) -> Config:
    """One complete configuration, flat, conditional on the architecture (define-by-run).

    Beyond `seg.suggest` (whose `loss` is that of the mask), which see for the arguments: `mask_weight` is the share of
    the mask's loss in the whole, `dropout` stands before the class head, `refine` is that of `trainables.models.multi`.

    Raises:
        ValueError: an architecture without a class head, or one with encoders of which none is allowed.
    """
    for name in architectures:
        architecture(name)
    config = seg.suggest(
        trial,
        architectures=architectures,
        encoders=encoders,
        batch_sizes=batch_sizes,
        epochs=epochs,
        balances=BALANCES,
    )
    class_loss = trial.suggest_categorical("class_loss", CLASS_LOSSES)
    return {
        **config,
        "dropout": trial.suggest_float("dropout", 0.0, 0.5),
        "mask_weight": trial.suggest_float("mask_weight", 0.2, 0.8),
        "class_loss": class_loss,
        "label_smoothing": trial.suggest_float("label_smoothing", 0.0, 0.2) if class_loss == "ce" else 0.0,
        "focal_gamma": trial.suggest_float("focal_gamma", 1.0, 3.0) if class_loss == "focal" else 0.0,
        "refine": trial.suggest_categorical("refine", (False, True)),
    }


def first_points(
    architectures: tuple[str, ...], encoders: seg.Encoders, trials: int, batch_sizes: tuple[int, ...]
) -> list[Parameters]:
    """Parameters, under the names of `suggest`, of the trials that a search begins with.

    The house settings and their variant on U-Net with the lightest encoder (or the nearest to it that the search
    allows); at most a third of the trials, rounded up.
    """
    start = seg.house_start(architectures, encoders)
    own = ("dropout", "mask_weight", "class_loss", "label_smoothing", "refine")
    points = [
        {**seg.point({**start, **house}, batch_sizes), **{key: house[key] for key in own}}
        for house in (HOUSE, SECOND)
        if start
    ]
    return points[: max(1, -(-trials // 3))]
