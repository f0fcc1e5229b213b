"""What a mask is worth that needs no network: nothing, everything, or the mean of the training masks."""

from __future__ import annotations

import numpy as np

from orchestrator.scoring.packed_masks import PackedMasks
from trainables.data.pixels import to_original_size

NOTHING, EVERYTHING, MEAN_MASK = "an empty mask", "the whole image", "the mean training mask"
#: Shares of the mean mask's largest value at which it may be cut.
CUTS = np.linspace(0.05, 0.95, 19)


def mean_mask(training: np.ndarray) -> np.ndarray | None:
    """The mean of the masks that hold a lesion, cut where it is best for them: uint8 [M,S,S] -> float32 [S,S] of 0, 1.

    None without a lesion.
    """
    lesions = training[training.any((1, 2))].astype(np.float32)
    if not len(lesions):
        return None
    mean = lesions.mean(0)
    flat, areas = lesions.reshape(len(lesions), -1), lesions.sum((1, 2))
    best, found = -1.0, np.asarray(mean)
    for cut in CUTS * mean.max():
        mask = (mean >= cut).astype(np.float32)
        dice = float((2 * (flat @ mask.ravel()) / (areas + mask.sum())).mean())
        if dice > best:
            best, found = dice, mask
    return found


def trivial_dice(
    training: np.ndarray, truth: PackedMasks, rows: np.ndarray, *, keep_aspect: bool
) -> dict[str, np.ndarray]:
    """Dice of each trivial prediction on some images, float64 [n] by name; NaN of images without a lesion.

    Args:
        training: masks of other images, uint8 [M,S,S]. truth: at original size; rows: those of it, int64 [n].
        keep_aspect: whether training masks are letterboxed.
    """
    mean = mean_mask(training)
    found = {name: np.full(len(rows), np.nan) for name in (NOTHING, EVERYTHING, MEAN_MASK)}
    for place, row in enumerate(rows.tolist()):
        mask = truth[row]
        if not mask.any():
            continue
        area = int(mask.sum())
        found[NOTHING][place] = 0.0
        found[EVERYTHING][place] = 2 * area / (area + mask.size)
        found[MEAN_MASK][place] = 0.0
        if mean is not None:
            said = to_original_size(mean, *mask.shape, keep_aspect=keep_aspect) > 0.5
            found[MEAN_MASK][place] = 2 * (said & mask).sum() / (said.sum() + area)
    return found


def best_of(dice: dict[str, np.ndarray]) -> tuple[str, np.ndarray]:
    """The trivial prediction with the largest mean Dice, and its Dice, float64 [n]; `NOTHING` without lesions."""
    means = {name: float(np.nanmean(values)) for name, values in dice.items() if np.isfinite(values).any()}
    best = max(means, key=lambda name: means[name], default=NOTHING)
    return best, dice[best]
