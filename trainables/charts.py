"""Charts of a classifier's predictions as pictures: uint8 RGB [900, 900, 3]."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve
from sklearn.metrics import confusion_matrix as count_confusions

#: One colour and line a class, apart also for colour-blind eyes (Okabe and Ito) and in grey.
COLOURS = {"normal": "#0072b2", "benign": "#009e73", "malignant": "#d55e00"}
LINES = {"normal": ":", "benign": "--", "malignant": "-"}


def confusion_matrix(predicted: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Counts by true class (rows) and predicted class (columns), shaded by their share of the true class.

    Args:
        predicted: int64 [N], 0..K-1. labels: int64 [N], 0..K-1. names: the K classes.
    """
    counts = count_confusions(labels, predicted, labels=range(len(names)))
    return _matrix(counts, names, f"Confusion matrix, {len(labels)} images", "class")


def pixel_confusion(counts: np.ndarray) -> np.ndarray:
    """Pixels of all images together by truth (rows) and prediction (columns), shaded by their share of the truth.

    Args:
        counts: int64 [2,2], {background, lesion}.
    """
    return _matrix(counts, ("background", "lesion"), f"Pixel confusion, {counts.sum():,} pixels", "pixel")


def _matrix(counts: np.ndarray, names: Sequence[str], title: str, what: str) -> np.ndarray:
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    figure, axes = _square(title, f"predicted {what}", f"true {what}")
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names, rotation=90, va="center")
    for (row, column), count in np.ndenumerate(counts):
        text = f"{count:,}\n{shares[row, column]:.1%}" if what == "pixel" else f"{count}\n{shares[row, column]:.0%}"
        axes.text(column, row, text, ha="center", va="center", color="white" if shares[row, column] > 0.5 else "black")
    return _picture(figure)


def roc_curves(probabilities: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """ROC curve of each class against the rest, where there are images of both.

    Args:
        probabilities: floating point [N, K]. labels: int64 [N], 0..K-1. names: the K classes.
    """
    figure, axes = _square(f"ROC curves, {len(labels)} images", "1 - specificity", "sensitivity", unit=True)
    for name, truth, score in _one_vs_rest(probabilities, labels, names):
        false_positive_rate, true_positive_rate, _ = roc_curve(truth, score)
        label = f"{name} (n = {truth.sum()}), AUROC {roc_auc_score(truth, score):.3f}"
        axes.plot(false_positive_rate, true_positive_rate, LINES[name], color=COLOURS[name], label=label)
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1, label="chance")
    axes.legend(loc="lower right")
    return _picture(figure)


def precision_recall_curves(probabilities: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Precision-recall curve of each class against the rest, as for `roc_curves`."""
    figure, axes = _square(f"Precision-recall curves, {len(labels)} images", "recall", "precision", unit=True)
    for name, truth, score in _one_vs_rest(probabilities, labels, names):
        precision, recall, _ = precision_recall_curve(truth, score)
        label = f"{name} (chance {truth.mean():.2f}), AP {average_precision_score(truth, score):.3f}"
        # Steps, because average precision is their area: straight lines between points would promise more.
        axes.step(recall, precision, LINES[name], where="post", color=COLOURS[name], label=label)
    if axes.lines:
        axes.legend(loc="lower left")
    return _picture(figure)


def _one_vs_rest(
    probabilities: np.ndarray, labels: np.ndarray, names: Sequence[str]
) -> list[tuple[str, np.ndarray, np.ndarray]]:
    triples = [(name, labels == index, probabilities[:, index]) for index, name in enumerate(names)]
    return [(name, truth, score) for name, truth, score in triples if truth.any() and not truth.all()]


def _square(title: str, x: str, y: str, *, unit: bool = False) -> tuple[Figure, Axes]:
    """A figure of its own, outside pyplot and its global state: it may be drawn in any thread."""
    figure = Figure(figsize=(6, 6), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    axes.set(title=title, xlabel=x, ylabel=y)
    if unit:
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
        axes.grid(color="0.9")
    return figure, axes


def _picture(figure: Figure) -> np.ndarray:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
