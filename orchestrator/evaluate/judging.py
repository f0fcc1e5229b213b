"""What a model may be called by images of another source: beside predictions that need no network."""

from __future__ import annotations

import cv2
import numpy as np

from orchestrator.evaluate.leakage import UnseenImages
from orchestrator.inference.description import Description
from orchestrator.scoring.operating_points import OperatingPoint
from orchestrator.scoring.packed_masks import PackedMasks
from orchestrator.scoring.resampling import inner_folds
from orchestrator.scoring.trivial import MEAN_MASK, best_of, trivial_dice
from orchestrator.scoring.values import ScoredPredictions, has_lesion
from orchestrator.scoring.verdict import Judgement, judge

#: Pixels of a side of the masks that are kept: memory stays flat whatever the images' sizes.
SIDE = 128
#: What their mean is called here.
OTHER_HALF = "the mean mask of the other half of these images"
#: Masks that the mean is of, at most; more do not change it.
MOST = 1000


def shrunk(mask: np.ndarray) -> np.ndarray:
    """A mask, bool [H,W], stretched to SIDE pixels a side if it is larger; a lesion stays one, however small."""
    if max(mask.shape) <= SIDE:
        return mask
    size = min(SIDE, mask.shape[1]), min(SIDE, mask.shape[0])
    found = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    small: np.ndarray = found > min(0.5, 0.99 * float(found.max())) if mask.any() else found > 0
    return small


def trivial(truth: PackedMasks, known: np.ndarray, groups: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Dice of trivial predictions, float64 [N] by name; the mean mask is of the other half of these images, by groups.

    Args:
        truth: N masks of `shrunk`. known: bool [N], whether a mask is that of its image. groups, labels: int64 [N].
    """
    halves = inner_folds(groups, labels, folds=2)
    found: dict[str, np.ndarray] = {}
    for half in np.unique(halves):
        inside, others = np.flatnonzero((halves == half) & known), np.flatnonzero((halves != half) & known)
        others = others[np.linspace(0, len(others) - 1, min(len(others), MOST)).round().astype(int)]
        training = np.zeros((len(others), SIDE, SIDE), np.uint8)
        for place, row in enumerate(others.tolist()):
            training[place] = cv2.resize(truth[row].astype(np.uint8), (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
        for name, dice in trivial_dice(training, truth, inside, keep_aspect=False).items():
            name = OTHER_HALF if name == MEAN_MASK else name
            found.setdefault(name, np.full(len(groups), np.nan))[inside] = dice
    return found


def judge_external(
    description: Description, fresh: UnseenImages, scored: ScoredPredictions, truth: PackedMasks | None
) -> Judgement:
    """By these images alone, with the model's own operating points.

    Args:
        scored: predictions of the N images. truth: their masks as `shrunk` has them; None for cls.
    """
    points = [OperatingPoint.model_validate(point) for point in description.operating_points]
    best = None
    if truth is not None and scored.counts is not None and (fresh.has_mask & has_lesion(scored.counts)).any():
        best = best_of(trivial(truth, fresh.has_mask, fresh.groups, fresh.labels))
    return judge(scored, fresh.groups, fresh.labels, best, points)
