"""What combiners make small on held-out rows: a loss an image and its gradient, for classes and for masks. Numpy."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Self

import numpy as np
from scipy.special import log_softmax, softmax

from orchestrator.ensemble.combiners.calibration import blocks, class_temperature, mask_temperature
from orchestrator.scoring.values import ScoredPredictions, auroc

#: Pixels of an image that masks are combined on.
PIXELS = 4096


@dataclass(frozen=True)
class _Rows:
    """Rows of one head whose truth is known.

    Attributes:
        logits: of M members, float [M,N,V]: V classes, or V pixels. Members are weighed where each one's are divided by
            its temperature.
        groups: int64 [N]. labels: strata, int64 [N].
    """

    logits: np.ndarray
    groups: np.ndarray
    labels: np.ndarray

    def combined(self, weights: np.ndarray) -> np.ndarray:
        """F = sum_m weights_m Z_m, float [N,V], from weights float [M]."""
        return np.tensordot(weights.astype(self.logits.dtype), self.logits, 1)

    def calibrated(self, temperatures: tuple[float, ...]) -> Self:
        """The logits of each member divided by its temperature."""
        return replace(self, logits=self.logits / np.array(temperatures, self.logits.dtype)[:, None, None])

    def take(self, rows: np.ndarray) -> Self:
        """These rows (int64) alone."""
        by_row = {one.name: getattr(self, one.name)[rows] for one in fields(self) if one.name != "logits"}
        return replace(self, logits=self.logits[:, rows], **by_row)

    def first(self, members: int) -> Self:
        """The first so many members alone."""
        return replace(self, logits=self.logits[:members])


@dataclass(frozen=True)
class ClassObjective(_Rows):
    """Cross-entropy; `targets`: int64 [N], 0..K-1."""

    targets: np.ndarray

    def temperature(self, logits: np.ndarray) -> float:
        """T > 0 of logits float [N,K]."""
        return class_temperature(logits, self.targets)

    def losses(self, combined: np.ndarray) -> np.ndarray:
        """l_i of each image, float64 [N], for logits float [N,K]; L is their mean."""
        losses: np.ndarray = -log_softmax(combined.astype(np.float64), axis=1)[np.arange(len(combined)), self.targets]
        return losses

    def along(self, combined: np.ndarray, direction: np.ndarray, step: float) -> float:
        """L(F + s D) for F and D float [N,K]."""
        return float(self.losses(combined + direction * step).mean())

    def residual(self, combined: np.ndarray) -> np.ndarray:
        """-dL/dF at these logits, float [N,K]."""
        residual: np.ndarray = (np.eye(combined.shape[1])[self.targets] - softmax(combined, axis=1)) / len(combined)
        return residual

    def metric(self, combined: np.ndarray) -> float:
        """AUROC, macro one-vs-rest, of logits float [N,K]; NaN for a single class."""
        nothing = np.zeros(len(combined), bool)
        return auroc(ScoredPredictions(softmax(combined.astype(np.float64), axis=1), self.targets, None, nothing))


@dataclass(frozen=True)
class MaskObjective(_Rows):
    """Binary cross-entropy of the pixels, and on images that have a lesion 1 - soft Dice.

    Attributes:
        truth: bool [N,P]. weights: how many pixels each one stands for, float [N,P], on the scale that is wanted: it
            cancels out. A lesion of which no pixel was drawn counts as none.
    """

    truth: np.ndarray
    weights: np.ndarray

    def temperature(self, logits: np.ndarray) -> float:
        """T > 0 of logits float [N,P]."""
        return mask_temperature(logits, self.truth, self.weights)

    def losses(self, combined: np.ndarray) -> np.ndarray:
        """l_i of each image, float64 [N], for logits float [N,P]; L is their mean."""
        return self._losses(lambda rows: combined[rows])

    def along(self, combined: np.ndarray, direction: np.ndarray, step: float) -> float:
        """L(F + s D) for F and D float [N,P]."""
        step = direction.dtype.type(step)
        return float(self._losses(lambda rows: combined[rows] + direction[rows] * step).mean())

    def _losses(self, logits_of: Callable[[slice], np.ndarray]) -> np.ndarray:
        found = np.empty(len(self.truth))
        for rows in blocks(len(found)):
            logits, weights, lesion = logits_of(rows), self.weights[rows], self._lesion[rows]
            p, size = _chances(logits), self._sizes[rows]
            # -log p where the pixel is lesion, and -log(1 - p) where it is not; the logarithm is of what is above 1/2.
            entropy = np.vecdot(weights, np.maximum(logits, 0)) - np.vecdot(weights, np.log(np.maximum(p, 1 - p)))
            entropy -= np.vecdot(lesion, logits)
            total = np.where(size > 0, size + np.vecdot(weights, p), 1)
            dice = 2 * np.vecdot(lesion, p) / total
            found[rows] = entropy / self._totals[rows] + np.where(size > 0, 1 - dice, 0)
        return found

    def residual(self, combined: np.ndarray) -> np.ndarray:
        """-dL/dF at these logits, float [N,P]."""
        found = np.empty_like(combined)
        for rows in blocks(len(found)):
            weights, lesion, size = self.weights[rows], self._lesion[rows], self._sizes[rows]
            p = _chances(combined[rows])
            total = np.where(size > 0, size + np.vecdot(weights, p), 1)
            overlap = np.vecdot(lesion, p)
            dice = lesion * (2 / total)[:, None] - weights * (2 * overlap / np.square(total))[:, None]
            found[rows] = (lesion - weights * p) / self._totals[rows, None] + dice * (p * (1 - p))
        found /= len(found)
        return found

    def metric(self, combined: np.ndarray) -> float:
        """Mean Dice over images with a lesion at probability .5, at this size; NaN where there is none."""
        predicted = combined > 0
        total = self._sizes + np.vecdot(self.weights, predicted)
        dice = 2 * np.vecdot(self._lesion, predicted) / np.maximum(total, np.finfo(np.float32).tiny)
        values = dice[self._sizes > 0]
        return float(values.mean(dtype=np.float64)) if len(values) else float("nan")

    # Of the pixels' weights alone: computed once, and not at each of thousands of steps.

    @cached_property
    def _lesion(self) -> np.ndarray:
        lesion: np.ndarray = self.weights * self.truth
        return lesion

    @cached_property
    def _sizes(self) -> np.ndarray:
        sizes: np.ndarray = self._lesion.sum(1)
        return sizes

    @cached_property
    def _totals(self) -> np.ndarray:
        totals: np.ndarray = self.weights.sum(1)
        return totals


Objective = ClassObjective | MaskObjective


def sample_pixels(
    planes: np.ndarray,
    truth: np.ndarray,
    digests: Sequence[str],
    seed: int,
    count: int = PIXELS,
    deciding: int | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Some pixels of each image: half of them where the signs of the members' logits differ (all of those, if fewer).

    An image's pixels depend on its digest, on the seed and on those signs alone: neither on the other images nor on
    the scale of any member's logits.

    Args:
        planes: float16 [M,N,S,S]. truth: 0 and 1, [N,S,S]. digests: N of them. count: pixels an image, P.
        deciding: the first so many members are those whose signs decide; None for all.

    Returns:
        Logits float32 [M,N,P], truth bool [N,P] and weights float32 [N,P], the inverse of the probability that the
        pixel is drawn (Horvitz and Thompson, JASA 47, 1952). All pixels, each of weight 1, where there are no more.
    """
    members, images = planes.shape[:2]
    every = int(np.prod(planes.shape[2:]))
    if every <= count:
        everything = planes.reshape(members, images, every).astype(np.float32)
        return everything, truth.reshape(images, every) > 0, np.ones((images, every), np.float32)
    logits = np.empty((members, images, count), np.float32)
    lesion, weights = np.empty((images, count), bool), np.empty((images, count), np.float32)
    for i, digest in enumerate(digests):
        rng = np.random.default_rng([seed, zlib.crc32(digest.encode())])
        flat = planes[:, i].reshape(members, every)
        positive = flat[:deciding] > 0
        differ = positive.any(0) & ~positive.all(0)
        here, elsewhere = np.flatnonzero(differ), np.flatnonzero(~differ)
        drawn = min(len(here), max(count // 2, count - len(elsewhere)))
        pixels = np.concatenate([rng.choice(here, drawn, False), rng.choice(elsewhere, count - drawn, False)])
        logits[:, i], lesion[i] = flat[:, pixels], truth[i].reshape(every)[pixels] > 0
        weights[i, :drawn] = len(here) / max(1, drawn)
        weights[i, drawn:] = len(elsewhere) / max(1, count - drawn)
    return logits, lesion, weights


def _chances(logits: np.ndarray) -> np.ndarray:
    """Probabilities of logits; without a branch a pixel, which is most of the time of one."""
    chances: np.ndarray = np.tanh(logits / 2)
    chances += 1
    chances /= 2
    return chances
