"""The kinds of images that a metric rests on: one of few groups is too little for an interval over groups."""

from __future__ import annotations

import numpy as np

from orchestrator.ensemble.scored import Scored
from trainables.data import CLASSES

#: Means over all images of known class.
EVERY_IMAGE = frozenset({"accuracy", "nll", "brier", "ece"})


def kinds(metric: str, scored: Scored) -> list[np.ndarray]:
    """Those of a metric, bool [N] each; one that has no image is there only where the metric is of nothing else.

    Args:
        metric: its name, as `orchestrator.ensemble.measures.scores` has it. scored: N images.

    Returns:
        Recall of a class rests on its images, specificity on the others, and its precision, F1 and AUROC on both; means
        over classes on each class that is there; the `score` of multi on what Dice and AUROC rest on; `miou` on the
        lesions of each class.
    """
    known = scored.targets >= 0
    classes = [scored.targets == label for label in np.unique(scored.targets[known])]
    if scored.counts is not None:
        lesion = scored.has_mask & (scored.counts[:, 0] + scored.counts[:, 2] > 0)
        of_masks = {
            "dice": [lesion],
            "iou": [lesion],
            "hd95": [lesion],
            "dice_all": [scored.has_mask],
            "fpr_normal": [scored.has_mask & ~lesion],
            "score": [kind for kind in (lesion, *classes) if kind.any()],
            "miou": [both for one in classes if (both := lesion & one).any()],
        }
        if metric in of_masks:
            return of_masks[metric]
    if metric in EVERY_IMAGE:
        return [known]
    score, _, name = metric.rpartition("_")
    if name in CLASSES and scored.probabilities is not None:
        inside = scored.targets == CLASSES[-scored.probabilities.shape[1] :].index(name)
        others = known & ~inside
        return {"recall": [inside], "specificity": [others]}.get(score, [inside, others])
    return classes
