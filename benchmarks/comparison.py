"""Seconds of a round's fits, its gain, and the comparison, on made-up predictions of BUSI's size.

`python -m benchmarks.comparison [FOLDS]` prints a table; with 2, two folds are compared instead of four.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace

import numpy as np
from scipy.ndimage import gaussian_filter

from orchestrator.ensemble import boosting
from orchestrator.ensemble.combiners.fits import Fits
from orchestrator.ensemble.held_out import OutOfFoldPredictions
from orchestrator.ensemble.selection import compare
from orchestrator.scoring.packed_masks import PackedMasks
from trainables.data.pixels import resize_mask

IMAGES, CANDIDATES, SIZE = 650, 4, 128


def main() -> None:
    """Measure and print: a round whose member is rejected, and the comparison after it."""
    more = _made_up(int(sys.argv[1]) if len(sys.argv) > 1 else 4)
    assert more.planes is not None
    began = time.perf_counter()
    fits = Fits(replace(more, names=more.names[:CANDIDATES], planes=more.planes[:CANDIDATES]))
    fits.predict(fits.whole().fit("boosted-trained")[0])
    fitted = time.perf_counter()
    boosting.gain("seg", fits, Fits(more, earlier=fits))
    gained = time.perf_counter()
    compare("seg", fits)
    compared = time.perf_counter()
    print("| fits of the round, s | gain, s | comparison, s | all, s |")
    print("| --- | --- | --- | --- |")
    print(f"| {fitted - began:.1f} | {gained - fitted:.1f} | {compared - gained:.1f} | {compared - began:.1f} |")


def _made_up(compared: int) -> OutOfFoldPredictions:
    """One lesion an image, which candidates see under smooth noise of their own; a fifth of a fold each."""
    rng = np.random.default_rng(0)
    folds = np.arange(IMAGES) % 5
    rows = folds <= compared
    images, members = int(rows.sum()), CANDIDATES + 1
    y, x = np.mgrid[:256, :256] - 128
    masks = [y**2 / tall**2 + x**2 / wide**2 < 1 for tall, wide in rng.uniform(20, 80, (images, 2))]
    truth = np.stack([resize_mask(mask, SIZE, False) for mask in masks])
    planes = np.empty((members, images, SIZE, SIZE), np.float16)
    for plane in planes:
        noise = gaussian_filter(rng.normal(size=truth.shape).astype(np.float32), (0, 6, 6))
        plane[:] = 2 * gaussian_filter(truth.astype(np.float32), (0, 3, 3)) - 1 + 1.5 * noise / noise.std()
    return OutOfFoldPredictions(
        names=tuple(f"member {i}" for i in range(members)),
        candidates=CANDIDATES,
        class_logits=None,
        planes=planes,
        targets=np.full(images, -1),
        has_mask=np.ones(images, bool),
        truth=truth,
        originals=PackedMasks(masks),
        keep_aspect=False,
        shape=None,
        labels=np.ones(images, np.int64),
        groups=np.arange(images),
        folds=folds[rows],
        compared=folds[rows] > 0,
        digests=tuple(f"{i:064x}" for i in range(images)),
    )


if __name__ == "__main__":
    main()
