"""Ways to look at a small square picture, mirrored, cropped, extended or turned: each a linear map of its pixels."""

from __future__ import annotations

import math
from functools import cache
from itertools import product
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array, csr_array

#: Samples of a cell, in each direction.
FINE = 4


class View(NamedTuple):
    """A picture mirrored, then seen through a turned window.

    Attributes:
        left, right, top, bottom: what the window leaves out at that side, as a share of the picture; where it is
            negative the window reaches beyond.
        angle: by which the window is turned, in degrees.
        mirrored: left for right.
    """

    left: float = 0.0
    right: float = 0.0
    top: float = 0.0
    bottom: float = 0.0
    angle: float = 0.0
    mirrored: bool = False

    def matrix(self, side: int) -> np.ndarray:
        """From a pixel (x, y) of the view to one of the picture, both `side` pixels wide: float64 [2,3]."""
        angle, flip = math.radians(self.angle), np.diag([-1.0 if self.mirrored else 1.0, 1.0])
        width, height = 1 - self.left - self.right, 1 - self.top - self.bottom
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        linear = flip @ turn @ np.diag([width, height])
        centre = flip @ np.array([self.left - self.right, self.top - self.bottom]) / 2
        middle = np.full(2, (side - 1) / 2)
        return np.column_stack([linear, middle + centre * side - linear @ middle])


def _both_ways(views: list[View]) -> tuple[View, ...]:
    return tuple(view._replace(mirrored=mirrored) for mirrored, view in product((False, True), views))


def _one_side(share: float) -> list[View]:
    return [View(left=share), View(right=share), View(top=share), View(bottom=share)]


#: Of two pictures of which each is looked at: what a crop of one shows, the other's extension need not show.
CROPS = _both_ways([View(), View(0.05, 0.05, 0.05, 0.05), *_one_side(0.09), View(angle=-4.5), View(angle=4.5)])
#: Of a picture that may itself be the crop, beside a hash that cannot be looked at otherwise.
EXTENSIONS = _both_ways(
    [
        View(),
        View(0.045, 0.045, 0.045, 0.045),  # less a border of 5 %
        *(View(-share, -share, -share, -share) for share in (0.035, 0.07, 0.11)),
        *(view for share in (0.05, 0.08, 0.11) for view in _one_side(-share)),
        *(View(angle=angle) for angle in (-5.5, -4, -2, 2, 4, 5.5)),
    ]
)


@cache
def sampling(view: View, side: int, rows: int, columns: int) -> csr_array:
    """The view in rows x columns cells as a matrix over a picture's pixels, float32 [rows * columns, side * side].

    A row's sum is the share of its cell that lies within the picture; what lies beyond counts as 0.
    """
    y, x = (np.mgrid[: rows * FINE, : columns * FINE] + 0.5) * side / FINE
    y, x = y / rows - 0.5, x / columns - 0.5
    (a, b, c), (d, e, f) = view.matrix(side)
    source_x, source_y = a * x + b * y + c, d * x + e * y + f
    inside = (abs(source_x - (side - 1) / 2) < side / 2) & (abs(source_y - (side - 1) / 2) < side / 2)
    row, column = np.indices(x.shape) // FINE
    cell = (row * columns + column)[inside]
    source_x, source_y = source_x[inside], source_y[inside]
    left, above = np.floor(source_x).astype(int), np.floor(source_y).astype(int)
    weights, pixels = [], []
    for right, below in product((0, 1), (0, 1)):  # bilinear
        share_x, share_y = abs(1 - right - source_x + left), abs(1 - below - source_y + above)
        weights.append((share_x * share_y / FINE**2).astype(np.float32))
        pixels.append((above + below).clip(0, side - 1) * side + (left + right).clip(0, side - 1))
    ends = np.tile(cell, 4), np.concatenate(pixels)
    return coo_array((np.concatenate(weights), ends), shape=(rows * columns, side * side)).tocsr()
