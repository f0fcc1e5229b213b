"""Metrics of many resamples at once: each image counts as often as it was drawn, and scores are sorted once.

What `measure.scores` computes of one resample after the other, from arrays of counts; NaN where that has no figure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from orchestrator.scoring import values
from orchestrator.scoring.values import ScoredPredictions
from trainables.data.manifest import CLASSES
from trainables.metrics.cls import EPSILON

#: Numbers of a block of resamples: memory stays flat however many images there are.
BLOCK = 4_000_000


def once(measure: Callable[[ScoredPredictions, np.ndarray], np.ndarray], scored: ScoredPredictions) -> float:
    """One of `FAST` of the images as they are, each once."""
    return float(measure(scored, np.ones((1, len(scored))))[0])


def primary(task: str, scored: ScoredPredictions, counts: np.ndarray) -> np.ndarray:
    """`values.primary` of each resample, float64 [B]; counts: of each image in each resample, float64 [B,N]."""
    parts = {"seg": ("dice",), "cls": ("auroc",), "multi": ("dice", "auroc")}[task]
    return mean_of_known([FAST[name](scored, counts) for name in parts])


def class_scores(scored: ScoredPredictions, counts: np.ndarray) -> dict[str, np.ndarray]:
    """Those of `trainables.metrics.cls.classification_scores` that are resampled, float64 [B] each."""
    assert scored.probabilities is not None
    known = scored.targets >= 0
    counts, probabilities, targets = counts[:, known], scored.probabilities[known], scored.targets[known]
    size = probabilities.shape[1]
    truth, said = np.eye(size)[targets], np.eye(size)[probabilities.argmax(1)]
    hits = counts @ (truth * said)
    present, called, all_ = counts @ truth, counts @ said, counts.sum(1)
    columns = zip(probabilities.T, truth.T > 0, strict=True)
    areas = np.stack([_one_against_rest(*one, counts) for one in columns])
    there, others = present > 0, all_[:, None] - present
    with np.errstate(invalid="ignore", divide="ignore"):
        by_class = {
            "precision": hits / np.maximum(1, called),
            "recall": hits / present,
            "f1": 2 * hits / (present + called),
            "specificity": (others - (called - hits)) / others,
            "auroc": areas[:, :, 0].T,
            "map": areas[:, :, 1].T,
        }
        own = (probabilities * truth).sum(1).clip(min=EPSILON)
        found = {
            "accuracy": hits.sum(1) / all_,
            "nll": counts @ -np.log(own) / all_,
            "brier": counts @ np.square(probabilities - truth).sum(1) / all_,
        }
    for name, table in by_class.items():
        table[~there | (others == 0 if name in ("specificity", "auroc", "map") else False)] = np.nan
        found[name] = mean_of_known(list(table.T))
        if name != "map":
            found |= {f"{name}_{label}": table[:, i] for i, label in enumerate(CLASSES[-size:])}
    return found | {"balanced_accuracy": found["recall"]}


def mask_scores(scored: ScoredPredictions, counts: np.ndarray) -> dict[str, np.ndarray]:
    """Those of `trainables.metrics.seg.segmentation_scores`, float64 [B] each."""
    return {name: FAST[name](scored, counts) for name in ("dice", "iou", "dice_all", "fpr_normal")}


def mean(of_images: np.ndarray, inside: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean over the images inside (bool [N]) of each resample, float64 [B]; of_images: float [N]."""
    drawn = counts[:, inside]
    with np.errstate(invalid="ignore"):
        found: np.ndarray = drawn @ of_images[inside] / drawn.sum(1)
    return found


def binary_auroc(scores: np.ndarray, positive: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """`values.binary_auroc` of each resample, float64 [B]: scores, float [N], are sorted once."""
    return _one_against_rest(scores, positive, counts)[:, 0]


def _one_against_rest(scores: np.ndarray, positive: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """`binary_auroc` and average precision as scikit-learn's `average_precision_score`, float64 [B,2]."""
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.diff(scores[order], append=-np.inf) < 0)
    is_positive = positive[order].astype(np.float64)

    def block(counts: np.ndarray) -> np.ndarray:
        drawn = counts[:, order]
        # True and all positives where each distinct score is the threshold.
        true = np.cumsum(drawn * is_positive, 1)[:, ends]
        called = np.cumsum(drawn, 1)[:, ends]
        gained = np.diff(true, prepend=0.0)
        rest, new = called[:, -1:] - called, np.diff(called, prepend=0.0) - gained
        below = rest - (true[:, -1:] - true)
        with np.errstate(invalid="ignore", divide="ignore"):
            pairs = true[:, -1] * (called[:, -1] - true[:, -1])
            area = (gained * (below + new / 2)).sum(1) / pairs
            precision = (gained * np.nan_to_num(true / called)).sum(1) / true[:, -1]
        return np.stack([area, precision], 1)

    return _in_blocks(block, counts)


def _in_blocks(measure: Callable[[np.ndarray], np.ndarray], counts: np.ndarray) -> np.ndarray:
    if not counts.shape[1]:
        return np.full((len(counts), 2), np.nan)
    rows = max(1, BLOCK // counts.shape[1])
    return np.concatenate([measure(counts[i : i + rows]) for i in range(0, len(counts), rows)] or [np.empty((0, 2))])


def mean_of_known(columns: Sequence[np.ndarray]) -> np.ndarray:
    """Mean of what is not NaN, float64 [B]; NaN where all is."""
    table = np.stack(columns, 1)
    known = ~np.isnan(table)
    with np.errstate(invalid="ignore"):
        found: np.ndarray = np.where(known, table, 0).sum(1) / known.sum(1)
    return found


def _of_masks(by_image: Callable[[np.ndarray], np.ndarray], kind: str) -> Callable[..., np.ndarray]:
    """A mean over images of known mask: all, or those with or without a lesion."""

    def measure(scored: ScoredPredictions, counts: np.ndarray) -> np.ndarray:
        if scored.counts is None:
            return np.full(len(counts), np.nan)
        lesion = values.has_lesion(scored.counts)
        inside = scored.has_mask & {"all": True, "lesion": lesion, "normal": ~lesion}[kind]
        return mean(by_image(scored.counts), inside, counts)

    return measure


def _iou(counts: np.ndarray) -> np.ndarray:
    found: np.ndarray = counts[:, 0] / counts.sum(1).clip(min=1)
    return found


def _auroc(scored: ScoredPredictions, counts: np.ndarray) -> np.ndarray:
    if scored.probabilities is None:
        return np.full(len(counts), np.nan)
    known = scored.targets >= 0
    columns = enumerate(scored.probabilities[known].T)
    areas = [binary_auroc(column, scored.targets[known] == index, counts[:, known]) for index, column in columns]
    return mean_of_known(areas)


def _auroc_malignant(scored: ScoredPredictions, counts: np.ndarray) -> np.ndarray:
    assert scored.probabilities is not None
    known, last = scored.targets >= 0, scored.probabilities.shape[1] - 1
    return binary_auroc(scored.probabilities[known, -1], scored.targets[known] == last, counts[:, known])


def _class(name: str) -> Callable[..., np.ndarray]:
    return lambda scored, counts: class_scores(scored, counts)[name]


#: Of predictions and counts, float64 [B,N]: what models are compared by, by its name in `metrics.METRICS`.
FAST: dict[str, Callable[[ScoredPredictions, np.ndarray], np.ndarray]] = {
    "dice": _of_masks(values.dice_by_image, "lesion"),
    "iou": _of_masks(_iou, "lesion"),
    "dice_all": _of_masks(values.dice_by_image, "all"),
    "fpr_normal": _of_masks(lambda counts: 1 - values.dice_by_image(counts), "normal"),
    "auroc": _auroc,
    "auroc_malignant": _auroc_malignant,
    **{name: _class(name) for name in ("accuracy", "balanced_accuracy", "f1")},
}
