"""Classification losses by name, for logits [B, K] and targets [B]; an image of unknown class teaches nothing."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from search_spaces.recipes import Config

Loss = Callable[[Tensor, Tensor], Tensor]


def build_loss(config: Config, labels: np.ndarray, classes: int) -> Loss:
    """The loss of a configuration.

    It takes logits, floating point [B, K], and targets, int64 [B], 0..K-1 or -1 for unknown, and returns a scalar: the
    mean over the images of known class, 0 if there are none.

    Args:
        config: keys read: `loss`, `balance` (`weights` weighs the classes), `label_smoothing` (of `ce`) and
            `focal_gamma` (of `focal`).
        labels: targets of the training samples, int64 [N], as above; the class weights come from them.
        classes: K.

    Raises:
        ValueError: unknown loss.
    """
    if config["loss"] not in LOSSES:
        raise ValueError(f"unknown loss '{config['loss']}': choose from {', '.join(LOSSES)}")
    balanced = class_weights(labels, classes) if config["balance"] == "weights" else torch.ones(classes)
    balanced_on = functools.cache(balanced.to)  # each device once: a step need not upload them

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        known = targets >= 0
        target = targets.clamp(min=0)
        losses = LOSSES[config["loss"]](logits, target, config)
        # Divided by the number of images and not, as PyTorch does, by the sum of their weights: otherwise a batch of
        # one class would not feel its weight at all.
        weights = balanced_on(losses.device)[target] * known
        return (weights * losses).sum() / known.sum().clamp(min=1)

    return loss


def focal(logits: Tensor, targets: Tensor, gamma: float) -> Tensor:
    """Focal loss (1 - p)^gamma * -log p of the true class, [B]: Lin et al., ICCV 2017, arXiv:1708.02002.

    Args:
        logits: floating point [B, K]. targets: int64 [B], 0..K-1. gamma: 0 gives cross-entropy.
    """
    own = functional.one_hot(targets, logits.shape[1]).bool()
    # 1 - p through logarithms: its power has a finite gradient where p rounds to 1, for any gamma.
    log_rest = logits.masked_fill(own, -torch.inf).logsumexp(1) - logits.logsumexp(1)
    return torch.exp(gamma * log_rest) * functional.cross_entropy(logits, targets, reduction="none")


def _cross_entropy(logits: Tensor, targets: Tensor, config: Config) -> Tensor:
    smoothing = config["label_smoothing"]
    return functional.cross_entropy(logits, targets, reduction="none", label_smoothing=smoothing)


#: Name -> loss of each image, [B], from logits [B, K], targets int64 [B], 0..K-1, and the configuration.
LOSSES: dict[str, Callable[[Tensor, Tensor, Config], Tensor]] = {
    "ce": _cross_entropy,
    "focal": lambda logits, targets, config: focal(logits, targets, config["focal_gamma"]),
}


def class_weights(labels: np.ndarray, classes: int) -> Tensor:
    """Weights float32 [K] in inverse proportion to the classes' sizes, n / (K n_k); their mean over images is 1.

    K counts the classes that are there; an absent one weighs 0. Labels, int64 [N], below 0 do not count.
    """
    counts = np.bincount(labels[labels >= 0], minlength=classes)
    present = np.count_nonzero(counts)
    weights = np.divide(counts.sum(), present * counts, out=np.zeros(classes), where=counts > 0)
    return torch.from_numpy(weights).float()
