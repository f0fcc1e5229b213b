"""Near-duplicate images: a perceptual hash, its clusters, and which clusters are suspect.

Measured on 625 images of BUSI, by eye: all pairs up to distance 62 show one scene, the nearest strangers are 65 apart.
A 3 % crop of one image of a pair, at all sides or at any one or two, then JPEG, leaves the four known pairs of the
original files at most 43 apart. With a single dHash of the whole image that is 62, and strangers begin at 66.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor

import imagehash
import numpy as np
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from trainables.data.manifest import DEFAULT_DISTANCE, UNKNOWN

# Horizontal dHashes hardly feel a vertical shift, but 3 % of the width is half of one of their 17 columns. So the image
# is also hashed less TRIM at its left, at its right and at both sides.
TRIM = 0.02
WINDOWS = ((0.0, 0.0), (TRIM, TRIM), (TRIM, 0.0), (0.0, TRIM))
#: Of a hash: 256 bits a window.
HASH_BYTES = len(WINDOWS) * 32


def perceptual_hash(image: np.ndarray) -> np.ndarray:
    """Four packed 256-bit dHashes of a grey image, uint8 [H,W] -> uint8 [128]: of the whole and of three crops."""
    height, width = image.shape
    hashes = []
    for left, right in WINDOWS:
        y = round(height * (left + right) / 2)
        window = image[y : height - y, round(width * left) : width - round(width * right)]
        hashes.append(imagehash.dhash(Image.fromarray(window), hash_size=16).hash)
    return np.packbits(hashes)


def cluster(hashes: np.ndarray, distance: int = DEFAULT_DISTANCE) -> np.ndarray:
    """Near-duplicate clusters of perceptual hashes, uint8 [N,128] -> int64 [N], numbered as `canonical` does.

    Two images are linked where the whole of one lies within `distance` bits of any window of the other; a cluster is
    what links connect.
    """
    return connected(np.stack(whole_in_window(hashes, hashes, distance), axis=1), len(hashes))


def connected(pairs: np.ndarray, n: int) -> np.ndarray:
    """Clusters of n rows that pairs of them, int64 [L,2], connect: int64 [n], numbered as `canonical` does."""
    graph = coo_array((np.ones(len(pairs), dtype=bool), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    return canonical(connected_components(graph, directed=False)[1])


def among(pairs: np.ndarray, rows: Sequence[int]) -> np.ndarray:
    """The pairs, int64 [L,2], of which both ends are among `rows`, as places in these: int64 [K,2]."""
    places = np.full(max([*rows, *pairs.ravel().tolist()], default=-1) + 1, -1, np.int64)
    places[list(rows)] = np.arange(len(rows))
    placed: np.ndarray = places[pairs]
    return placed[(placed >= 0).all(axis=1)]


def near(hashes: np.ndarray, others: np.ndarray, distance: int = DEFAULT_DISTANCE) -> np.ndarray:
    """Which images are linked to any of the others, by the rule of `cluster`: uint8 [N,128] and [M,128] -> bool [N]."""
    found = np.zeros(len(hashes), bool)
    found[whole_in_window(hashes, others, distance)[0]] = True
    found[whole_in_window(others, hashes, distance)[1]] = True
    return found


def whole_in_window(
    hashes: np.ndarray, others: np.ndarray, distance: int, pool: Executor | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (row, column), int64 [L] each: the whole of `hashes[row]` is near any window of `others[column]`.

    Takes time N M, in the threads of `pool`: .8 s for 4,000 images among themselves on two cores.
    """
    one, other = (np.ascontiguousarray(some).view(np.uint64).reshape(-1, len(WINDOWS), 4) for some in (hashes, others))

    def near_rows(start: int) -> tuple[np.ndarray, np.ndarray]:
        close = np.zeros((min(64, len(one) - start), len(other)), dtype=bool)
        for window in range(len(WINDOWS)):
            bits = np.zeros(close.shape, dtype=np.uint16)
            for word in range(4):
                bits += np.bitwise_count(one[start : start + 64, None, 0, word] ^ other[None, :, window, word])
            close |= bits <= distance
        row, column = np.nonzero(close)
        return row + start, column

    starts = range(0, len(one), 64)
    found = list(pool.map(near_rows, starts) if pool else map(near_rows, starts))
    nothing = np.empty(0, np.int64)
    rows, columns = zip((nothing, nothing), *found, strict=True)
    return np.concatenate(rows), np.concatenate(columns)


def canonical(groups: np.ndarray) -> np.ndarray:
    """Group ids [N] renumbered 0, 1, 2, ... in the order of their first rows, int64 [N]."""
    _, first, ids = np.unique(groups, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first)).astype(np.int64)[ids]


def conflicts(clusters: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Rows of clusters whose members have different known labels, bool [N]; clusters and labels are int64 [N].

    A label may be any number that the members of a cluster should share.
    """
    known = labels != UNKNOWN
    pairs = np.unique(np.stack([clusters[known], labels[known]]), axis=1)
    ids, classes = np.unique(pairs[0], return_counts=True)
    return np.isin(clusters, ids[classes > 1])


def oversized(clusters: np.ndarray) -> np.ndarray:
    """Sizes of clusters above 2 % of all images and above 5 images, largest first, int64 [K].

    Such a cluster is more often a hash that chains on an unfamiliar scanner than so many copies of one picture.
    """
    sizes = np.sort(np.bincount(clusters))[::-1].astype(np.int64)
    return sizes[sizes > max(5, 0.02 * len(clusters))]
