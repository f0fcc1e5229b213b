"""Which images are near-duplicates of each other, as pairs: by their hashes, or by aligned pictures. Remembered."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from trainables.data.alignment import agreement
from trainables.data.cache import read_arrays, write_arrays
from trainables.data.duplicates import whole_in_window
from trainables.data.examine import Decoded
from trainables.data.proposals import propose
from trainables.data.thumbnails import SIDE, trimmed
from trainables.data.views import CROPS

#: Part of the name of what is remembered: raise it when other pairs are found.
FORMAT = 1
#: Least agreement of aligned pictures of one scene. On BUSI strangers reach .21, and .33 where all are put into the
#: same scanner's screen; copies that are cropped by up to a tenth or turned by 5 degrees keep .6.
AGREE = 0.5


def near_duplicates(outcomes: Sequence[Decoded], distance: int, cache: Path | None = None) -> np.ndarray:
    """Pairs of images of one scene, rows of `outcomes`, int64 [L,2]; none of them are unreadable.

    Two images are linked where their hashes are, see `duplicates.cluster`, or where their pictures agree once they are
    aligned: a mirrored, cropped, bordered or turned copy. `distance` 0 links equal hashes alone, and aligns nothing.
    Chains are not followed: of many copies some pairs may be missing, and what connects them is there.

    Args:
        outcomes: of examining the images, in any order.
        distance: largest Hamming distance between near-duplicates, bits of 256.
        cache: where pairs are remembered by the images' contents; None remembers nothing.
    """
    readable = [row for row, outcome in enumerate(outcomes) if len(outcome.image_hash)]
    if not readable:
        return np.zeros((0, 2), np.int64)
    # In order of content, so that neither names nor the listing's order change what is found or remembered.
    digests, first, of = np.unique(
        [outcomes[row].image_digest for row in readable], return_index=True, return_inverse=True
    )
    identity = json.dumps([FORMAT, distance, *digests.tolist()])
    folder = cache / f"links-{hashlib.sha256(identity.encode()).hexdigest()[:20]}" if cache else None
    kept = read_arrays(folder, "pairs") if folder else None
    if kept is None:
        different = [outcomes[readable[i]] for i in first.tolist()]
        pairs = _find(different, distance)
        if folder:
            write_arrays(folder, pairs=pairs)
    else:
        pairs = np.array(kept["pairs"])
    rows, again = np.array(readable), np.setdiff1d(np.arange(len(readable)), first)
    return np.concatenate([rows[first[pairs]], np.stack([rows[first[of[again]]], rows[again]], axis=1)])


def _find(outcomes: Sequence[Decoded], distance: int) -> np.ndarray:
    """Pairs among images of different content, int64 [L,2]."""
    hashes = np.stack([outcome.image_hash for outcome in outcomes])
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        alike: np.ndarray = np.stack(whole_in_window(hashes, hashes, distance, pool), axis=1)
        alike = np.compress(alike[:, 0] != alike[:, 1], alike, axis=0)
        if not distance:
            return alike
        return np.concatenate([alike, _aligned(outcomes, alike, pool)])


def _aligned(outcomes: Sequence[Decoded], known: np.ndarray, pool: Executor) -> np.ndarray:
    """Pairs whose pictures agree, int64 [L,2], without those that are known, int64 [K,2]."""

    def picture(row: int) -> np.ndarray:
        return trimmed(outcomes[row].picture)

    n, starts = len(outcomes), [view.matrix(SIDE) for view in CROPS]
    one, other, view = propose(n, picture, pool)
    new = ~np.isin(one * n + other, np.concatenate([known @ [n, 1], known @ [1, n]]))
    one, other, view = one[new], other[new], view[new]

    def agrees(which: int) -> bool:
        return agreement(picture(one[which]), picture(other[which]), starts[view[which]]) >= AGREE

    found = np.fromiter(pool.map(agrees, range(len(one))), bool, len(one))
    return np.compress(found, np.stack([one, other], axis=1), axis=0)
