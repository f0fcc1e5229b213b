"""A fitted combiner: how members' logits become one prediction. Plain numpy and plain values, stored as JSON."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

from orchestrator.inference.stack import Logit, Positive, Stack, Weight


@dataclass(frozen=True)
class Head:
    """How the logits of one head are combined, and calibrated: F = sum_m weights_m z_m / temperatures_m, then
    F / temperature + bias.

    Attributes:
        temperatures: of each of the M members, > 0. weights: of each member, >= 0, sum 1.
        temperature: of the combination. bias: of each class; empty for masks, and where no class was re-balanced.
        threshold: masks alone; a calibrated logit above it is lesion.
    """

    temperatures: tuple[Positive, ...]
    weights: tuple[Weight, ...]
    temperature: Positive = 1.0
    bias: tuple[Logit, ...] = ()
    threshold: Logit = 0.0

    def combine(self, logits: np.ndarray) -> np.ndarray:
        """Calibrated logits [...] of the members' logits [M,...]; members of weight 0 are not looked at."""
        total = np.zeros(logits.shape[1:], np.float64 if logits.dtype == np.float64 else np.float32)
        for weight, temperature, one in zip(self.weights, self.temperatures, logits, strict=True):
            if weight:
                total += one.astype(total.dtype) * (weight / temperature)
        total /= self.temperature
        return total + np.asarray(self.bias, total.dtype) if self.bias else total


@dataclass(frozen=True)
class Combination:
    """A fitted combiner of a name: a head for classes, for masks, or both; `stack` then stands in for classes."""

    name: str
    classes: Head | None = None
    masks: Head | None = None
    stack: Stack | None = None

    def probabilities(self, class_logits: np.ndarray, shape: np.ndarray | None = None) -> np.ndarray:
        """Class probabilities, float64 [N,K], from members' logits, float [M,N,K], and lesion shape, float64 [N,F]."""
        if self.stack:
            return self.stack.probabilities(class_logits, shape)
        assert self.classes
        return np.asarray(softmax(self.classes.combine(class_logits.astype(np.float64)), axis=-1))

    def mask_logits(self, planes: np.ndarray) -> np.ndarray:
        """Calibrated mask logits, float32 [...], from members' planes [M,...]; above `masks.threshold` is lesion."""
        assert self.masks
        return self.masks.combine(planes)

    @property
    def members(self) -> tuple[int, ...]:
        """Members (positions) that it needs, in order."""
        used: set[int] = set()
        for head in (self.classes, self.masks):
            if head:
                used |= set(np.flatnonzero(head.weights).tolist())
        return tuple(sorted(used | set(self.stack.members if self.stack else ())))
