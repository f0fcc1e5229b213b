"""The metrics, one entry each: all that is computed of them, resampled, compared, or shown in tables is read from here.

`values` has the functions; what training logs by the same name is computed by training's own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from orchestrator.scoring import values
from orchestrator.scoring.values import ScoredPredictions
from trainables.data.manifest import CLASSES

#: Kinds of images, bool [N] each.
Kinds = Callable[[ScoredPredictions], list[np.ndarray]]


def lesions(scored: ScoredPredictions) -> np.ndarray:
    """Images with a known lesion, bool [N]; none without masks."""
    if scored.counts is None:
        return np.zeros(len(scored), bool)
    shown: np.ndarray = scored.has_mask & values.has_lesion(scored.counts)
    return shown


def every_image(scored: ScoredPredictions) -> list[np.ndarray]:
    """Those of known class."""
    return [scored.targets >= 0]


def each_class(scored: ScoredPredictions) -> list[np.ndarray]:
    """The images of each class that is there."""
    return [scored.targets == label for label in np.unique(scored.targets[scored.targets >= 0])]


def _lesions(scored: ScoredPredictions) -> list[np.ndarray]:
    return [lesions(scored)]


def _known_masks(scored: ScoredPredictions) -> list[np.ndarray]:
    return [scored.has_mask]


def _normals(scored: ScoredPredictions) -> list[np.ndarray]:
    return [scored.has_mask & ~lesions(scored)]


def _lesions_and_classes(scored: ScoredPredictions) -> list[np.ndarray]:
    return [kind for kind in (lesions(scored), *each_class(scored)) if kind.any()]


def _lesions_of_each_class(scored: ScoredPredictions) -> list[np.ndarray]:
    lesion = lesions(scored)
    return [both for one in each_class(scored) if (both := lesion & one).any()]


def _class_against_rest(name: str, score: str = "") -> Kinds:
    """Recall of a class rests on its images, specificity on the others, and all else on both."""

    def kinds(scored: ScoredPredictions) -> list[np.ndarray]:
        assert scored.probabilities is not None
        inside = scored.targets == CLASSES[-scored.probabilities.shape[1] :].index(name)
        others = (scored.targets >= 0) & ~inside
        return {"recall": [inside], "specificity": [others]}.get(score, [inside, others])

    return kinds


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        name: as `orchestrator.scoring.measure.scores` has it. words: in tables.
        part: of the table; also what it needs, classes or masks.
        rests_on: the kinds of images that each have to be enough for an interval.
        compared: whether two models are compared by it, and `weighted.FAST` has it.
        better: whether more of it is. digits: that are shown.
        resampled: whether it has an interval. Images drawn anew look worse calibrated than the whole that they are of,
            so that percentiles may lie above the value.
    """

    name: str
    words: str
    part: Literal["primary", "masks", "classes", "boxes"]
    rests_on: Kinds
    compared: bool = False
    better: Literal["higher", "lower"] = "higher"
    digits: int = 3
    resampled: bool = True

    @property
    def short(self) -> str:
        """Its name within a sentence."""
        return self.words.split(",")[0]

    def known_of(self, scored: ScoredPredictions) -> bool:
        """Whether the predictions have what it is computed from."""
        return (scored.counts if self.part == "masks" else scored.probabilities) is not None


_ALL = (
    Metric("score", "score, mean of Dice and AUROC", "primary", _lesions_and_classes),
    Metric("dice", "Dice of lesions", "masks", _lesions, compared=True),
    Metric("iou", "IoU of lesions", "masks", _lesions, compared=True),
    Metric("dice_all", "Dice of all images, an empty mask right for normals", "masks", _known_masks, compared=True),
    Metric("fpr_normal", "share of normals with a false alarm", "masks", _normals, compared=True, better="lower"),
    Metric("hd95", "95 % Hausdorff distance, pixels", "masks", _lesions, better="lower", digits=1),
    Metric("miou", "mean IoU of background, benign, malignant pixels", "masks", _lesions_of_each_class),
    Metric("auroc", "AUROC, mean of classes", "classes", each_class, compared=True),
    Metric(
        "auroc_malignant",
        "AUROC of malignant",
        "classes",
        _class_against_rest("malignant"),
        compared=True,
    ),
    Metric("map", "average precision, mean of classes", "classes", each_class),
    Metric("accuracy", "accuracy", "classes", every_image, compared=True),
    Metric("balanced_accuracy", "balanced accuracy (mean recall)", "classes", each_class, compared=True),
    Metric("precision", "precision, mean of classes", "classes", each_class),
    Metric("specificity", "specificity, mean of classes", "classes", each_class),
    Metric("f1", "F1, mean of classes", "classes", each_class, compared=True),
    Metric("nll", "negative log-likelihood", "classes", every_image, better="lower"),
    Metric("brier", "Brier score, 0 to 2", "classes", every_image, better="lower"),
    Metric("ece", "expected calibration error", "classes", every_image, better="lower", resampled=False),
    Metric("map_box", "COCO mAP of boxes", "boxes", _lesions_of_each_class, resampled=False),
    Metric("map_box50", "AP50 of boxes", "boxes", _lesions_of_each_class, resampled=False),
)
#: By name, in the order of the table.
METRICS = {metric.name: metric for metric in _ALL}
#: By which models of a task are ranked.
PRIMARY = {"seg": "dice", "cls": "auroc", "multi": "score"}
#: In a word, where it is clear of what.
PRIMARY_WORDS = {"dice": "Dice", "auroc": "AUROC", "score": "score"}
#: Scores of each class against the rest, such as `recall_benign`, with their words, in the order of the table.
PER_CLASS = {
    "precision": "precision",
    "recall": "recall",
    "specificity": "specificity",
    "f1": "F1",
    "auroc": "AUROC",
}


def resampled(name: str) -> bool:
    """Whether a metric of this name, of `PER_CLASS` too, has an interval."""
    return name not in METRICS or METRICS[name].resampled


def kinds(name: str, scored: ScoredPredictions) -> list[np.ndarray]:
    """Those that a metric of this name, of `PER_CLASS` too, rests on, bool [N] each, of N images.

    One that has no image is there only where the metric is of nothing else.
    """
    if name in METRICS:
        return METRICS[name].rests_on(scored)
    score, _, of = name.rpartition("_")
    return (_class_against_rest(of, score) if of in CLASSES else each_class)(scored)
