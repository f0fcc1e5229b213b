"""Whether an image is a changed copy of one of which a hash is left and no picture: it is looked at in many ways."""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.sparse import csr_array, diags_array

from trainables.data.thumbnails import SIDE, trimmed
from trainables.data.views import EXTENSIONS, sampling

#: Rows and columns of a dHash of 256 bits: a bit is whether a cell is brighter than the one left of it.
ROWS, COLUMNS = 16, 17
#: Many views have many chances to meet a stranger by chance, so that each must be nearer than hashes of whole images.
#: At the default distance of 50 that is 43: the nearest strangers of BUSI are 51 apart.
NEARER = 0.86
#: Images at a time.
BATCH = 16


def near_in_a_view(pictures: np.ndarray, hashes: np.ndarray, distance: int) -> np.ndarray:
    """Which pictures, uint8 [N,64,64], seen in any view have a hash near any of `hashes`, uint8 [M,128]: bool [N].

    Of the hashes the first 256 bits count, those of the whole image. Bits of a view that reach beyond the picture are
    not compared, and what differs among the others is scaled up to 256.

    Args:
        distance: largest Hamming distance between near-duplicates, bits of 256; here less counts, see `NEARER`.
    """
    if not len(pictures) or not len(hashes):
        return np.zeros(len(pictures), bool)
    whole = np.unpackbits(np.ascontiguousarray(hashes[:, : ROWS * (COLUMNS - 1) // 8]), axis=1)
    known = whole.astype(np.float32).T * 2 - 1
    least = 1 - distance * NEARER / 128  # of a mean of products of signs
    found = []
    for start in range(0, len(pictures), BATCH):
        some = pictures[start : start + BATCH]
        both = np.concatenate([some, np.stack([trimmed(picture) for picture in some])])
        signs = _signs(both).reshape(-1, ROWS * (COLUMNS - 1))
        near = (signs @ known).max(axis=1).reshape(2, len(some), -1) >= least - 1e-6
        found.append(near.any(axis=(0, 2)))
    return np.concatenate(found)


def _signs(pictures: np.ndarray) -> np.ndarray:
    """Bits of each view as signs, 0 beyond the picture, divided by how many there are: float32 [N,views,256]."""
    flat = pictures.reshape(len(pictures), -1).astype(np.float32)
    found = []
    for weights, inside in _views():
        cells = (weights @ flat.T).T.reshape(-1, ROWS, COLUMNS)
        brighter = np.where(cells[:, :, 1:] > cells[:, :, :-1], np.float32(1), np.float32(-1))
        found.append((brighter * (inside / inside.sum())).reshape(len(flat), -1))
    return np.stack(found, axis=1).astype(np.float32)


@cache
def _views() -> list[tuple[csr_array, np.ndarray]]:
    """Of each view: means over its cells, float32 [272,4096], and which bits lie within the picture, bool [16,16]."""
    found = []
    for view in EXTENSIONS:
        weights = sampling(view, SIDE, ROWS, COLUMNS)
        covered = np.asarray(weights.sum(axis=1)).ravel()
        inside = (covered > 0.5).reshape(ROWS, COLUMNS)
        means = diags_array(1 / np.maximum(covered, np.float32(1e-6))) @ weights
        found.append((csr_array(means), inside[:, 1:] & inside[:, :-1]))
    return found
