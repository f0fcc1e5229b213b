"""Whether two small pictures show one scene: one is laid over the other, and texture must agree block by block."""

from __future__ import annotations

import cv2
import numpy as np

from trainables.data.thumbnails import SIDE, texture

#: Texture to align on is coarser than texture to compare: sigma in pixels.
COARSE, FINE = SIDE / 8, SIDE / 16
#: Pixels a side of a block; grey SD from which a block has something to compare; least share of blocks that must.
BLOCK, FLAT, ENOUGH = 8, 4.0, 0.125
#: A quarter of the blocks may disagree as they like: a text over one picture, say.
WORST = 0.25
#: Least share of the picture that must be covered by the other.
OVERLAP = 0.6
#: A mask of all pixels, as OpenCV's types want one.
EVERY = np.ones((SIDE, SIDE), np.uint8)
#: Copies converge within these steps; strangers would go on.
STEPS = 30


def agreement(one: np.ndarray, other: np.ndarray, start: np.ndarray) -> float:
    """How well two pictures agree where they overlap, -1 to 1: the lower quartile of their blocks' correlations.

    The affine map between them is found by maximising the enhanced correlation coefficient (Evangelidis and
    Psarakis, IEEE Trans. PAMI 30(10), 2008, 1858-1865, as OpenCV has it). A scanner's furniture is the same around
    any scene, but leaves too many blocks that disagree, while a mean over all of them would be high.

    Args:
        one, other: uint8 [64,64].
        start: float [2,3], from a pixel of `other` to one of `one`, about right.
    """
    matrix = start.astype(np.float32)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, STEPS, 1e-3)
    try:
        coarse_one, coarse_other = texture(one, COARSE), texture(other, COARSE)
        found = cv2.findTransformECC(coarse_other, coarse_one, matrix, cv2.MOTION_AFFINE, criteria, EVERY, 5)[1]
    except cv2.error:  # no texture, or none in common
        return -1.0
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(one, found, (SIDE, SIDE), flags=flags)
    covered = cv2.warpAffine(np.full_like(one, 255), found, (SIDE, SIDE), flags=flags) > 250
    inside = cv2.erode(covered.astype(np.uint8), np.ones((3, 3)), borderType=cv2.BORDER_CONSTANT, borderValue=1)
    if inside.mean() < OVERLAP:
        return -1.0
    return _worst_blocks(moved.astype(np.float32), other.astype(np.float32), inside.astype(np.float32))


def _worst_blocks(one: np.ndarray, other: np.ndarray, inside: np.ndarray) -> float:
    """The lower quartile over blocks with texture of the correlation there; all are float32 [64,64]."""
    count = np.maximum(_sums(inside), 1)

    def mean(values: np.ndarray) -> np.ndarray:
        average: np.ndarray = _sums(values * inside) / count
        return average

    def variance(values: np.ndarray) -> np.ndarray:
        spread: np.ndarray = mean(values * values) - mean(values) ** 2
        return spread

    a, b = texture(one, FINE), texture(other, FINE)
    correlation = (mean(a * b) - mean(a) * mean(b)) / np.sqrt(np.maximum(variance(a) * variance(b), 1e-6))
    rough = np.maximum(variance(one), variance(other)) > FLAT**2
    compared = correlation[rough & (count > BLOCK**2 / 2)]
    return float(np.quantile(compared, WORST)) if len(compared) >= ENOUGH * count.size else -1.0


def _sums(values: np.ndarray) -> np.ndarray:
    """Sums over blocks, [64,64] -> [8,8]."""
    sums: np.ndarray = values.reshape(SIDE // BLOCK, BLOCK, SIDE // BLOCK, BLOCK).sum(axis=(1, 3))
    return sums
