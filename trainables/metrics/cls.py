"""Classification metrics: a functional core over numpy and scikit-learn, operating points, a torchmetrics shell."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import binomtest
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from trainables.data.manifest import CLASSES

ECE_BINS = 10
#: The least probability in a logarithm, as in scikit-learn.
EPSILON = float(np.finfo(np.float64).eps)
SPECIFICITY, SENSITIVITY = 0.90, 0.95


def classification_scores(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Scores of N images; what has no image to rest on is left out, and never NaN.

    Args:
        probabilities: floating point [N, K], rows that sum to 1; the classes are the last K of `CLASSES`.
        labels: the true classes, int64 [N], 0..K-1.

    Returns:
        `accuracy`; `precision`, `recall`, `specificity`, `f1`: mean over the classes that are there, and of each one as
        `f1_benign`; `balanced_accuracy`, which is the mean recall; `auroc`, `map`: one-vs-rest area under the ROC
        curve and average precision, mean over the classes that are there, and `auroc_benign` and its like; `nll`;
        `brier`: summed over classes, 0..2 (Brier 1950); `ece`: of the predicted class's probability, 10 bins of equal
        mass (Nguyen and O'Connor 2015). Malignant against the rest, threshold fitted on these very images:
        `sensitivity_at_90_specificity`, `specificity_at_95_sensitivity`.
    """
    if not len(labels):
        return {}
    probabilities = np.asarray(probabilities, np.float64)
    count = probabilities.shape[1]
    truth = np.eye(count)[labels]
    scores = {
        "accuracy": float((probabilities.argmax(1) == labels).mean()),
        "nll": float(-np.log((probabilities * truth).sum(1).clip(min=EPSILON)).mean()),
        "brier": float(np.square(probabilities - truth).sum(1).mean()),
        "ece": calibration_error(probabilities, labels),
    }
    by_class = {
        name: _class_scores(probabilities.argmax(1) == index, probabilities[:, index], labels == index)
        for index, name in enumerate(CLASSES[-count:])
        if (labels == index).any()
    }
    for score in ("precision", "recall", "specificity", "f1", "auroc", "map"):
        values = {name: found[score] for name, found in by_class.items() if score in found}
        scores |= {f"{score}_{name}": value for name, value in values.items() if score != "map"}
        if values:
            scores[score] = float(np.mean(list(values.values())))
    scores["balanced_accuracy"] = scores["recall"]
    return scores | _malignant_scores(probabilities[:, -1], labels == count - 1)


def _class_scores(predicted: np.ndarray, score: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """One class, of which there are images, against the rest; without a rest some scores do not exist."""
    hits = int((predicted & truth).sum())
    scores = {
        "precision": hits / max(1, int(predicted.sum())),
        "recall": hits / int(truth.sum()),
        "f1": 2 * hits / int(predicted.sum() + truth.sum()),
    }
    if truth.all():
        return scores
    return scores | {
        "specificity": float((~predicted & ~truth).sum() / (~truth).sum()),
        "auroc": float(roc_auc_score(truth, score)),
        "map": float(average_precision_score(truth, score)),
    }


def _malignant_scores(score: np.ndarray, malignant: np.ndarray) -> dict[str, float]:
    if malignant.all() or not malignant.any():
        return {}
    specific = apply_threshold(score, malignant, operating_point(score, malignant, specificity=SPECIFICITY))
    sensitive = apply_threshold(score, malignant, operating_point(score, malignant, sensitivity=SENSITIVITY))
    return {
        "sensitivity_at_90_specificity": specific.sensitivity,
        "specificity_at_95_sensitivity": sensitive.specificity,
    }


def calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = ECE_BINS) -> float:
    """Expected calibration error: mean distance of confidence from accuracy over bins of about as many images each.

    Args:
        probabilities: floating point [N, K]. labels: int64 [N]. bins: images of the same confidence share one, so that
            the order of the images does not matter and there may be fewer.
    """
    confidence = probabilities.max(1)
    edges = np.quantile(confidence, np.arange(1, bins) / bins)
    which = np.searchsorted(edges, confidence, side="right")
    excess = np.bincount(which, weights=(probabilities.argmax(1) == labels) - confidence)
    return float(np.abs(excess).sum() / len(labels))


class Operation(NamedTuple):
    """What a threshold does: images called malignant that are, of all that are, and called not so that are not."""

    true_positives: int
    positives: int
    true_negatives: int
    negatives: int

    @property
    def sensitivity(self) -> float:
        """Share of the malignant that is found."""
        return self.true_positives / self.positives

    @property
    def specificity(self) -> float:
        """Share of the others that is left alone."""
        return self.true_negatives / self.negatives


def operating_point(
    scores: np.ndarray,
    malignant: np.ndarray,
    *,
    specificity: float | None = None,
    sensitivity: float | None = None,
) -> float:
    """The threshold that keeps one rate and makes the other as large as it can be.

    Args:
        scores: floating point [N]; an image is called malignant from the threshold upwards.
        malignant: bool [N], some of each.
        specificity, sensitivity: the rate to be kept, at least, on these images; give one.

    Raises:
        ValueError: both or none of the rates are given, or all images are of one kind.
    """
    if malignant.all() or not malignant.any():
        raise ValueError("an operating point needs images that are malignant and images that are not")
    false_positive_rate, found, thresholds = roc_curve(malignant, scores, drop_intermediate=False)
    spared = 1 - false_positive_rate
    # scikit-learn's first threshold, at which nothing is malignant, is infinite, which JSON cannot hold.
    thresholds[0] = np.nextafter(scores.max(), scores.dtype.type(np.inf))
    if specificity is not None and sensitivity is None:
        kept, other, rate = spared, found, specificity
    elif sensitivity is not None and specificity is None:
        kept, other, rate = found, spared, sensitivity
    else:
        raise ValueError("an operating point keeps a specificity or a sensitivity: give one of them")
    # Rates are ratios of counts: .95 of 20 must be 19 whatever the rounding.
    allowed = np.flatnonzero(kept >= rate - 1e-9)
    # Where the other rate is as good, the better of the rate that is kept.
    return float(thresholds[max(allowed, key=lambda point: (other[point], kept[point]))])


def apply_threshold(scores: np.ndarray, malignant: np.ndarray, threshold: float) -> Operation:
    """What happens on these images, scores floating point [N] and truth bool [N], with a threshold fitted elsewhere."""
    called = scores >= threshold
    return Operation(
        int((called & malignant).sum()),
        int(malignant.sum()),
        int((~called & ~malignant).sum()),
        int((~malignant).sum()),
    )


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Score interval of a share (Wilson, J. Am. Stat. Assoc. 22, 1927, 209-212): low and high, 0..1.

    Raises:
        ValueError: not 0 <= successes <= n, or n is 0.
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"{successes} of {n} is no share")
    interval = binomtest(successes, n).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


class ClassificationMetrics(Metric):
    """`classification_scores` of everything given to `update(logits, labels)`, whatever the device."""

    full_state_update = False
    logits: list[Tensor]
    labels: list[Tensor]

    def __init__(self, classes: int = len(CLASSES)) -> None:
        super().__init__()
        self.classes = classes
        self.add_state("logits", default=[], dist_reduce_fx="cat")
        self.add_state("labels", default=[], dist_reduce_fx="cat")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Add a batch: logits floating point [B, K], labels int64 [B], 0..K-1; images of label -1 do not count."""
        if logits.shape[1:] != (self.classes,):
            raise ValueError(
                f"logits of {self.classes} classes are [B, {self.classes}], these are {list(logits.shape)}"
            )
        self.logits.append(logits)  # chosen from in `compute`: a GPU would have to be waited for
        self.labels.append(labels)

    def compute(self) -> dict[str, float]:
        """The scores; empty if nothing was added."""
        if not len(self.logits):
            return {}
        labels = dim_zero_cat(self.labels).cpu()
        known = labels >= 0
        probabilities = dim_zero_cat(self.logits).to("cpu", torch.float64)[known].softmax(1)
        # A network that overflows on an image knows nothing about it.
        probabilities = probabilities.nan_to_num(1 / self.classes)
        return classification_scores(probabilities.numpy(), labels[known].numpy())
