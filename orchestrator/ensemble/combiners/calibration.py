"""Temperatures and class bias: logits divided, and shifted, so that they say how sure one may be. Numpy and scipy."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from scipy.optimize import brentq, minimize
from scipy.special import log_softmax, softmax

#: A temperature's limits in units of the logits' root mean square. The first is met where logits separate the classes
#: perfectly, so that no temperature is cold enough; the second where they say nothing, or the contrary of the truth.
COLDEST, HOTTEST = 0.03, 100.0
_BLOCK = 8


def class_temperature(logits: np.ndarray, targets: np.ndarray) -> float:
    """T > 0 of the least mean cross-entropy of logits / T (Guo et al., ICML 2017): c T where the logits are c times.

    Args:
        logits: float [N,K], finite. targets: int64 [N], 0..K-1.
    """
    centred, scale = _unit(logits.astype(np.float64) - logits.mean(1, keepdims=True, dtype=np.float64))
    truth = np.eye(logits.shape[1])[targets]
    return scale / _sharpness(lambda sharpness: float(((softmax(sharpness * centred, axis=1) - truth) * centred).sum()))


def mask_temperature(logits: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> float:
    """T > 0 of the least binary cross-entropy of logits / T over all pixels: c T where the logits are c times.

    Args:
        logits: float [N,P], finite. truth: bool [N,P]. weights: of each pixel, float [N,P].
    """
    unit, scale = _unit(logits)
    weighted = unit * weights
    # The sum of weighted x (p - truth) over pixels, where p - 1/2 is tanh(logit / 2) / 2: a third of the time of expit.
    constant = sum(
        float(np.vecdot(weighted[rows], truth[rows] - unit.dtype.type(0.5)).sum(dtype=np.float64))
        for rows in blocks(len(unit))
    )

    def slope(sharpness: float) -> float:
        half = unit.dtype.type(sharpness / 2)
        sums = (np.vecdot(weighted[rows], np.tanh(unit[rows] * half)) for rows in blocks(len(unit)))
        return sum(float(one.sum(dtype=np.float64)) for one in sums) / 2 - constant

    return scale / _sharpness(slope)


def blocks(count: int) -> Iterator[slice]:
    """Images, a few at a time: their pixels fit into a core's cache, which halves the time."""
    return (slice(start, start + _BLOCK) for start in range(0, count, _BLOCK))


def class_calibration(logits: np.ndarray, targets: np.ndarray, bias: bool) -> tuple[float, tuple[float, ...]]:
    """(T, b) of the least cross-entropy of logits / T + b; b is empty without `bias`, else a value a class, sum 0.

    With a penalty of |b|^2 / 2 in all, a normal prior of standard deviation 1 (a class three times as common is 1.1),
    so that a class without an image keeps a finite bias; it is what makes the sum 0.

    Args:
        logits: float [N,K], finite. targets: int64 [N], 0..K-1.
    """
    if not bias:
        return class_temperature(logits, targets), ()
    count, classes = logits.shape
    centred, scale = _unit(logits.astype(np.float64) - logits.mean(1, keepdims=True, dtype=np.float64))
    truth = np.eye(classes)[targets]

    def penalised(values: np.ndarray) -> tuple[float, np.ndarray]:
        shifted = values[0] * centred + values[1:]
        excess = softmax(shifted, axis=1) - truth
        loss = -(log_softmax(shifted, axis=1) * truth).sum() + np.square(values[1:]).sum() / 2
        return loss / count, np.append((excess * centred).sum(), excess.sum(0) + values[1:]) / count

    found = minimize(
        penalised,
        np.append(scale / class_temperature(logits, targets), np.zeros(classes)),
        jac=True,
        method="L-BFGS-B",
        bounds=[(1 / HOTTEST, 1 / COLDEST)] + [(None, None)] * classes,
        options={"ftol": 1e-15, "gtol": 1e-10, "maxiter": 1000},
    ).x
    return float(scale / found[0]), tuple(found[1:].tolist())


def _unit(logits: np.ndarray) -> tuple[np.ndarray, float]:
    """Logits of root mean square 1, and what they were divided by: the search then never sees their scale."""
    scale = float(np.sqrt(np.square(logits, dtype=np.float64).mean())) or 1.0
    return logits / logits.dtype.type(scale), scale


def _sharpness(slope: Callable[[float], float]) -> float:
    """1 / T for logits of root mean square 1: where the loss's slope, which rises with 1 / T, passes 0."""
    if slope(1 / HOTTEST) >= 0:
        return 1 / HOTTEST
    if slope(1 / COLDEST) <= 0:
        return 1 / COLDEST
    low, high = np.log(1 / HOTTEST), np.log(1 / COLDEST)
    return float(np.exp(brentq(lambda power: slope(float(np.exp(power))), low, high, xtol=1e-10)))
