"""Pairs of pictures that may show one scene: each seen in several ways, and the nearest others of each of them.

Among more than a few thousand pictures only those in the nearest cells are looked at (an inverted file: Sivic and
Zisserman, ICCV 2003, 1470-1477; Jegou et al., IEEE Trans. PAMI 33(1), 2011, 117-128), so that time grows by
N (N / 1000 + 8000) instead of N^2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from typing import NamedTuple

import cv2
import numpy as np

from trainables.data.thumbnails import SIDE, texture
from trainables.data.views import CROPS, sampling

#: Cells a side of what a picture is known by, and pixels a side of the texture that it is made from.
CELLS, HALF = 16, SIDE // 2
#: Least cosine between what pictures are known by. Copies that are cropped by a tenth or turned by 5 degrees are above
#: .78; of the pairs of strangers in BUSI, 1 in 1,000 is.
LEAST = 0.55
#: Most proposals for a picture: where everything resembles everything, the best of them.
MOST = 4
#: Pictures a cell of the search, cells that are looked at, pictures at a time.
IN_CELL, PROBED, BATCH = 1024, 8, 64


class Proposals(NamedTuple):
    """Pairs to look at, best first: `one` seen through the view resembles `other`; int64 [K] each.

    Attributes:
        one, other: rows of the pictures.
        view: index into `CROPS`.
    """

    one: np.ndarray
    other: np.ndarray
    view: np.ndarray


def propose(n: int, picture: Callable[[int], np.ndarray], pool: Executor) -> Proposals:
    """Pairs that may show one scene, each once.

    Args:
        n: number of pictures.
        picture: uint8 [64,64] by its row, without black borders; asked for several times, so that none has to be held.
    """
    starts = range(0, n, BATCH)

    def seen(start: int, views: int) -> np.ndarray:
        return _seen([picture(row) for row in range(start, min(start + BATCH, n))], views)

    known = np.zeros((n, CELLS * CELLS), np.float32)
    for start, some in zip(starts, pool.map(lambda start: seen(start, 1)[:, 0], starts), strict=True):
        known[start : start + BATCH] = some
    centres, cells = _cells(known)
    found = pool.map(lambda start: _nearest(seen(start, len(CROPS)), start, known, centres, cells), starts)
    one, other, view, cosine = (np.concatenate(column) for column in zip(*found, strict=True))
    best = _best_of_each(np.minimum(one, other) * n + np.maximum(one, other), cosine)
    return Proposals(one[best], other[best], view[best])


def _seen(pictures: Sequence[np.ndarray], views: int) -> np.ndarray:
    """What pictures are known by in each view: coarse texture of mean 0 and length 1, float32 [n,views,256]."""
    textures = [
        cv2.resize(texture(picture, SIDE / 8), (HALF, HALF), interpolation=cv2.INTER_AREA) for picture in pictures
    ]
    flat = np.stack(textures).reshape(len(pictures), -1)
    seen = np.stack([(sampling(view, HALF, CELLS, CELLS) @ flat.T).T for view in CROPS[:views]], axis=1)
    seen -= seen.mean(axis=2, keepdims=True)
    seen /= np.maximum(np.linalg.norm(seen, axis=2, keepdims=True), 1e-6)
    return seen


def _cells(known: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Centres of cells, float32 [C,256], by a few steps of k-means on a sample, and the rows that lie in each."""
    count = -(-len(known) // IN_CELL)
    if count <= PROBED // 2:
        return known[:1], [np.arange(len(known))]
    rng = np.random.default_rng(0)
    sample = known[np.sort(rng.choice(len(known), min(len(known), count * 128), replace=False))]
    centres = sample[np.linspace(0, len(sample) - 1, count).astype(int)]
    for _ in range(5):
        nearest = (sample @ centres.T).argmax(axis=1)
        centres = np.stack(
            [sample[nearest == i].sum(axis=0) if (nearest == i).any() else centres[i] for i in range(count)]
        )
        centres /= np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-6)
    home = np.concatenate([(known[at : at + 4096] @ centres.T).argmax(axis=1) for at in range(0, len(known), 4096)])
    order = np.argsort(home, kind="stable")
    return centres, np.split(order, np.searchsorted(home[order], np.arange(1, count)))


def _nearest(
    seen: np.ndarray, start: int, known: np.ndarray, centres: np.ndarray, cells: list[np.ndarray]
) -> tuple[np.ndarray, ...]:
    """The best `MOST` others of each picture of a batch: (one, other, view, cosine), [K] each."""
    n, views, _ = seen.shape
    queries = seen.reshape(n * views, -1)
    found = list(_in_cells(queries, known, centres, cells))
    query, other, cosine = (np.concatenate(column) for column in zip(*found, strict=True))
    one, view = query // views + start, query % views
    keep = np.flatnonzero(one != other)
    keep = keep[_best_of_each(one[keep] * len(known) + other[keep], cosine[keep])]
    keep = keep[np.argsort(one[keep], kind="stable")]  # by picture, best first
    first = np.searchsorted(one[keep], one[keep])
    keep = keep[np.arange(len(keep)) - first < MOST]
    return one[keep], other[keep], view[keep], cosine[keep]


def _in_cells(
    queries: np.ndarray, known: np.ndarray, centres: np.ndarray, cells: list[np.ndarray]
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Of each cell: (query, row, cosine) of those near each other, the picture itself among them."""
    yield np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)
    near = queries @ centres.T
    if len(cells) > PROBED:
        near = near >= np.partition(near, -PROBED, axis=1)[:, -PROBED, None]
    else:
        near = np.ones_like(near, bool)
    for cell, members in enumerate(cells):
        asking = np.flatnonzero(near[:, cell])
        cosines = queries[asking] @ known[members].T
        hits = cosines > LEAST
        crowded = np.flatnonzero(hits.sum(axis=1) > MOST + 1)
        if len(crowded):
            some = cosines[crowded]
            hits[crowded] &= some >= np.partition(some, -MOST - 1, axis=1)[:, -MOST - 1, None]
        row, column = np.nonzero(hits)
        yield asking[row], members[column], cosines[row, column]


def _best_of_each(pair: np.ndarray, cosine: np.ndarray) -> np.ndarray:
    """Where each pair, int64 [K], has its highest cosine: int64 [unique], highest first."""
    order = np.argsort(-cosine, kind="stable")
    first = np.sort(np.unique(pair[order], return_index=True)[1])
    return order[first]
