"""What a trial can be, and how long one takes on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from orchestrator.config.search import SearchSettings
from search_spaces import SPACES
from trainables.data import Prepared
from trainables.models.weights import Source
from trainables.timing import seconds_per_image
from trainables.training import Training


@dataclass(frozen=True)
class Choice:
    """One thing that a trial can be: an architecture with an encoder ("" from scratch), or a recipe of such."""

    architecture: str
    encoder: str
    epochs: int
    recipe: str = ""

    def __str__(self) -> str:
        encoder = self.encoder if self.encoder != self.architecture else ""
        return self.recipe or f"{self.architecture} {encoder}".strip()


def trial_seconds(
    settings: SearchSettings, data: Prepared, choices: Sequence[Choice], sources: Mapping[str, Source], threads: int
) -> dict[Choice, float]:
    """Seconds of a whole trial of each choice on so many cores: recorded costs, scaled by training the cheapest."""
    space = SPACES[settings.task]
    costs = {c: space.seconds_per_image(c.architecture, c.encoder, settings.image_size) for c in choices}
    cheapest = min(choices, key=lambda choice: costs[choice])
    scale = _measure(cheapest, settings, data, sources, threads) / costs[cheapest]
    images = len(data.fold_rows(0)[0])
    return {choice: cost * choice.epochs * images * scale for choice, cost in costs.items()}


def usual(seconds: Mapping[Choice, float]) -> tuple[int, float]:
    """Epochs of the choice of median cost and seconds of one, by those of whole trials: the dearest seldom win."""
    choice = sorted(seconds, key=lambda one: seconds[one])[len(seconds) // 2]
    return choice.epochs, seconds[choice] / choice.epochs


def _measure(
    choice: Choice, settings: SearchSettings, data: Prepared, sources: Mapping[str, Source], threads: int
) -> float:
    """Seconds that this machine takes to train on one image."""
    config = {
        **SPACES[settings.task].HOUSE,
        **{"architecture": choice.architecture, "encoder": choice.encoder, "dropout": 0.0, "batch_size": 8},
        **{"warmup_epochs": 0, "epochs": 1, "seed": 0, "classes": settings.classes, "image_size": settings.image_size},
    }
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return seconds_per_image(Training(settings.task, config, data, sources.get(choice.encoder)))
    finally:
        torch.set_num_threads(before)
