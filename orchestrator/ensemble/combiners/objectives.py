"""What combiners make small on held-out rows: a loss an image and its gradient, for classes and for masks. Numpy."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from scipy.special import log_softmax, softmax

from orchestrator.scoring.values import ScoredPredictions, auroc

#: Pixels of an image that masks are combined on.
PIXELS = 4096
#: Images that are computed together: their pixels fit into a core's cache, which halves the time.
_BLOCK = 8


@dataclass(frozen=True)
class _Rows:
    """Rows of one head whose truth is known.

    Attributes:
        scaled: logits of M members, each divided by its temperature, float [M,N,V]: V classes, or V pixels.
        groups: int64 [N]. labels: strata, int64 [N].
    """

    scaled: np.ndarray
    groups: np.ndarray
    labels: np.ndarray

    def combined(self, weights: np.ndarray) -> np.ndarray:
        """F = sum_m weights_m Z_m, float [N,V], from weights float [M]."""
        return np.tensordot(weights.astype(self.scaled.dtype), self.scaled, 1)

    def take(self, rows: np.ndarray) -> Self:
        """These rows (int64) alone."""
        by_row = {name: values[rows] for name, values in vars(self).items() if name != "scaled"}
        return replace(self, scaled=self.scaled[:, rows], **by_row)

    def first(self, members: int) -> Self:
        """The first so many members alone."""
        return replace(self, scaled=self.scaled[:members])


@dataclass(frozen=True)
class ClassObjective(_Rows):
    """Cross-entropy; `targets`: int64 [N], 0..K-1."""

    targets: np.ndarray

    def losses(self, combined: np.ndarray) -> np.ndarray:
        """l_i of each image, float64 [N], for logits float [N,K]; L is their mean."""
        losses: np.ndarray = -log_softmax(combined.astype(np.float64), axis=1)[np.arange(len(combined)), self.targets]
        return losses

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

    def losses(self, combined: np.ndarray) -> np.ndarray:
        """l_i of each image, float64 [N], for logits float [N,P]; L is their mean."""
        found = np.empty(len(combined))
        for rows, logits, weights, lesion in self._blocks(combined):
            small = np.exp(-np.abs(logits))
            p = np.where(logits > 0, 1, small) / (1 + small)
            entropy = _sums(weights, np.maximum(logits, 0) + np.log(1 + small)) - _sums(lesion, logits)
            overlap, size, predicted = _sums(lesion, p), lesion.sum(1), _sums(weights, p)
            dice = 2 * overlap / np.where(size > 0, size + predicted, 1)
            found[rows] = entropy / weights.sum(1) + np.where(size > 0, 1 - dice, 0)
        return found

    def residual(self, combined: np.ndarray) -> np.ndarray:
        """-dL/dF at these logits, float [N,P]."""
        found = np.empty_like(combined)
        for rows, logits, weights, lesion in self._blocks(combined):
            small = np.exp(-np.abs(logits))
            p = np.where(logits > 0, 1, small) / (1 + small)
            slope = small / np.square(1 + small)  # p (1 - p), without loss of digits
            size = lesion.sum(1)
            total = np.where(size > 0, size + _sums(weights, p), 1)
            overlap = _sums(lesion, p)
            dice = lesion * (2 / total)[:, None] - weights * (2 * overlap / np.square(total))[:, None]
            found[rows] = (lesion - weights * p) / weights.sum(1, keepdims=True) + dice * slope
        return found / len(combined)

    def metric(self, combined: np.ndarray) -> float:
        """Mean Dice over images with a lesion at probability .5, at this size; NaN where there is none."""
        dice = []
        for _, logits, weights, lesion in self._blocks(combined):
            predicted = (logits > 0).astype(weights.dtype)
            size = lesion.sum(1)
            total = size + _sums(weights, predicted)
            dice.append((2 * _sums(lesion, predicted) / np.maximum(total, np.finfo(np.float32).tiny))[size > 0])
        values = np.concatenate(dice)
        return float(values.mean(dtype=np.float64)) if len(values) else float("nan")

    def _blocks(self, combined: np.ndarray) -> Iterator[tuple[slice, np.ndarray, np.ndarray, np.ndarray]]:
        """Some rows at a time: which, their logits, weights, and weights where there is lesion."""
        for start in range(0, len(combined), _BLOCK):
            rows = slice(start, start + _BLOCK)
            weights = self.weights[rows].astype(combined.dtype, copy=False)
            yield rows, combined[rows], weights, weights * self.truth[rows]


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


def _sums(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    sums: np.ndarray = np.einsum("ij,ij->i", one, other)
    return sums
