"""Curves of what models say: ROC, precision and recall, calibration, Dice, and the use of their uncertainty."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_curve

from orchestrator.rendering.charts import FULL, INK, canvas, chart, styled
from orchestrator.rendering.document import Block, Chart, SideBySide
from orchestrator.rendering.numbers import counted, number, percent
from orchestrator.report.results.means import by_image, by_title, error_area, value_of
from orchestrator.report.results.subject import ModelResults
from orchestrator.scoring.uncertainty import LEAST_DICE, errors, risk_by_coverage
from trainables.charts import COLOURS, LINES
from trainables.data import CLASSES
from trainables.metrics.cls import ECE_BINS, wilson_interval

#: Colours and lines of models, apart from those of classes, for colour-blind eyes (Okabe and Ito) and in grey.
MODELS = ((INK, "-"), ("#cc79a7", "--"), ("#56b4e9", "-."))
#: A panel that shows about a square, and a line of the legend below it, in inches.
WIDTH, HEIGHT, LINE = 3.9, 3.6, 0.19
CHANCE = "#9aa1a9"
#: Bins of Dice, of .05 each.
BINS = np.linspace(0, 1, 21)
#: Operating points, by the rate that they keep.
MARKS = {"specificity": "o", "sensitivity": "s"}


def of_classes(subjects: Sequence[ModelResults]) -> list[Block]:
    """All that is drawn of classes: of one model side by side, of several below each other."""
    drawn = [one for one in (roc(subjects), precision_recall(subjects), calibration(subjects)) if one]
    return [SideBySide(drawn)] if len(subjects) == 1 and drawn else [*drawn]


@styled
def roc(subjects: Sequence[ModelResults]) -> Chart | None:
    """Each class against the rest, a panel a model, operating points marked; None without classes."""
    shown = [subject for subject in subjects if any(_one_vs_rest(subject))]
    if not shown:
        return None
    figure, panels = _panels(shown, "1 − specificity", "sensitivity", lines=len(CLASSES) + len(MARKS))
    for axes, subject in zip(panels, shown, strict=True):
        axes.plot([0, 1], [0, 1], color=CHANCE, linewidth=0.8, zorder=1)
        for name, truth, score in _one_vs_rest(subject):
            area = value_of(subject.figures, f"auroc_{name}")
            label = f"{name} (n = {int(truth.sum()):,})" + (f", AUROC {area.words()}" if area else "")
            alarms, found, _ = roc_curve(truth, score)
            axes.plot(alarms, found, LINES[name], color=COLOURS[name], label=label)
        for point in subject.figures.operating_points:
            if point.sensitivity and point.specificity:
                axes.plot(
                    1 - point.specificity.value,
                    point.sensitivity.value,
                    MARKS[point.kept],
                    color=COLOURS["malignant"],
                    markeredgecolor="white",
                    markersize=7,
                    zorder=3,
                    clip_on=False,
                    label=f"from {number(point.threshold, 2)}: {100 * point.rate:.0f} % {point.kept} held out",
                )
    _legends(panels)
    caption = (
        f"ROC curves, each class against the rest. {_known(shown)}. Marks are thresholds of the malignant probability "
        "that keep a rate on held-out predictions. In brackets 95 % intervals, where images are enough; grey: "
        "chance."
    )
    return chart("roc", figure, caption)


@styled
def precision_recall(subjects: Sequence[ModelResults]) -> Chart | None:
    """Each class against the rest, a panel a model; None without classes."""
    shown = [subject for subject in subjects if any(_one_vs_rest(subject))]
    if not shown:
        return None
    figure, panels = _panels(shown, "recall", "precision", lines=len(CLASSES))
    for axes, subject in zip(panels, shown, strict=True):
        for name, truth, score in _one_vs_rest(subject):
            precision, recall, _ = precision_recall_curve(truth, score)
            area = number(float(average_precision_score(truth, score)), 3)
            label = f"{name} (n = {int(truth.sum()):,}), AP {area}, by chance {number(float(truth.mean()), 2)}"
            # Steps, because average precision is their area: straight lines between points would promise more.
            axes.step(recall, precision, LINES[name], where="post", color=COLOURS[name], label=label)
    _legends(panels)
    words = _figures(shown, "map", "mean average precision")
    return chart(
        "precision-recall", figure, f"Precision and recall, each class against the rest. {_known(shown)}. {words}"
    )


@styled
def calibration(subjects: Sequence[ModelResults]) -> Chart | None:
    """Confidence against accuracy, a panel a model; None without classes."""
    shown = [subject for subject in subjects if subject.classes and _known_classes(subject).any()]
    if not shown:
        return None
    figure, panels = _panels(shown, "mean probability of the likeliest class", "accuracy")
    for axes, subject in zip(panels, shown, strict=True):
        draw_bins(axes, *confidence(subject))
    words = f"{_figures(shown, 'ece', 'expected calibration error')} {_figures(shown, 'brier', 'Brier score')}"
    caption = (
        f"Calibration: {ECE_BINS} bins of about as many images each by the probability of the likeliest class. "
        f"{_known(shown)}. Bars are Wilson intervals of 95 %; on the grey line probabilities are what they say. {words}"
    )
    return chart("calibration", figure, caption)


@styled
def dice_histogram(subjects: Sequence[ModelResults]) -> Chart | None:
    """Dice of images with a lesion by class, a panel a model; None without masks."""
    dice = {subject.title: by_image(subject.tested)["dice"] for subject in subjects}
    shown = [subject for subject in subjects if np.isfinite(dice[subject.title]).any()]
    if not shown:
        return None
    figure, panels = canvas(FULL, 2.9, len(shown), sharey=True)
    words = []
    for axes, subject in zip(panels, shown, strict=True):
        values, labels = dice[subject.title], subject.tested.evidence.labels
        lesion = np.isfinite(values)
        axes.hist(values[lesion], BINS.tolist(), color="#e3e6ea", label=f"all (n = {int(lesion.sum()):,})")
        for label, name in enumerate(CLASSES):
            if (inside := lesion & (labels == label)).any():
                heights, _ = np.histogram(values[inside], BINS)
                tint, words_of = COLOURS[name], f"{name} (n = {int(inside.sum()):,})"
                axes.stairs(heights, BINS, color=tint, linestyle=LINES[name], linewidth=1.5, label=words_of)
        axes.set(title=subject.title, xlabel="Dice of an image", xlim=(0, 1))
        axes.legend(loc="best")
        missed = int((values[lesion] == 0).sum())
        middle = number(float(np.median(values[lesion])), 3)
        words.append(
            f"{subject.title}: median {middle}, {missed:,} of {int(lesion.sum()):,} without any overlap "
            f"({percent(missed, int(lesion.sum()))})"
        )
    panels[0].set_ylabel("images with a lesion")
    return chart("dice", figure, f"Dice of each image with a lesion at original size. {'; '.join(words)}.")


@styled
def risk_coverage(subjects: Sequence[ModelResults]) -> Chart | None:
    """Error rate among the most certain images, a line a model; None where no image's outcome is known."""
    figure, (axes,) = canvas(FULL, 3.1)
    found = False
    kinds = set()
    for subject, (colour, line) in zip(subjects, MODELS, strict=False):
        wrong, known = errors(subject.tested.evidence.scored)
        if not known.any():
            continue
        found = True
        kinds.add(bool(subject.classes))
        risks = 100 * risk_by_coverage(subject.tested.uncertainty[known], wrong[known])
        coverage = 100 * np.arange(1, len(risks) + 1) / len(risks)
        label = f"{subject.title}: {int(wrong[known].sum()):,} errors of {len(risks):,}"
        axes.plot(coverage, risks, line, color=colour, linewidth=1.6, label=label)
        axes.axhline(risks[-1], color=colour, linestyle=line, linewidth=0.6, alpha=0.6)
    if not found:
        return None
    axes.set(xlabel="most certain images, %", ylabel="errors among them, %", xlim=(0, 100))
    axes.set_ylim(0, max(axes.get_ylim()[1], 1))
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))  # where it hides no curve
    meant = [*(["another class"] if True in kinds else []), *([f"Dice below {LEAST_DICE}"] if False in kinds else [])]
    caption = (
        "Error rate among the images that a model is most certain of. An error is "
        f"{' or, without classes, '.join(meant)}{_lone_normals(kinds)}. Thin lines: an uncertainty that says nothing. "
        f"{_usefulness(subjects)}"
    )
    return chart("risk-coverage", figure, caption)


def confidence(subject: ModelResults) -> tuple[np.ndarray, np.ndarray]:
    """Of the images of known class: the probability of the likeliest, float64 [N], and whether that is right, bool."""
    scored = subject.tested.evidence.scored
    assert scored.probabilities is not None
    known = scored.targets >= 0
    probabilities = scored.probabilities[known]
    return probabilities.max(1), probabilities.argmax(1) == scored.targets[known]


def draw_bins(axes: Axes, said: np.ndarray, so: np.ndarray) -> None:
    """Shares of what is so (bool [N]) by what probabilities (float64 [N]) said, with Wilson intervals of 95 %."""
    mean, hits, n = probability_bins(said, so)
    shares = hits / n
    bounds = np.array([wilson_interval(*pair) for pair in zip(hits.tolist(), n.tolist(), strict=True)]).T
    reach = np.abs(bounds - shares)
    axes.plot([0, 1], [0, 1], color=CHANCE, linewidth=0.8, zorder=1)
    axes.errorbar(mean, shares, reach, color=INK, marker="o", markersize=4, linestyle="none", elinewidth=0.8)


def probability_bins(said: np.ndarray, so: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The bins of about as many images each that hold any: mean probability, images of which it is so, and images.

    Args:
        said: float64 [N]. so: bool [N].

    Returns:
        float64 [B], int64 [B] and int64 [B], B at most `ECE_BINS`.
    """
    which = np.searchsorted(np.quantile(said, np.arange(1, ECE_BINS) / ECE_BINS), said, side="right")
    n = np.bincount(which)
    there = n > 0
    return (
        np.bincount(which, weights=said)[there] / n[there],
        np.bincount(which, weights=so)[there].astype(np.int64),
        n[there],
    )


def _one_vs_rest(subject: ModelResults) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Name, truth (bool) and probability of each class of which there are images, and others."""
    scored = subject.tested.evidence.scored
    if scored.probabilities is None:
        return
    known = scored.targets >= 0
    for index, name in enumerate(subject.classes):
        truth = scored.targets[known] == index
        if truth.any() and not truth.all():
            yield name, truth, scored.probabilities[known, index]


def _panels(shown: Sequence[ModelResults], x: str, y: str, lines: int = 0) -> tuple[Figure, list[Axes]]:
    """A panel a model, with room for a legend of so many lines below each, where it hides no curve."""
    figure, panels = canvas(FULL if len(shown) > 1 else WIDTH, HEIGHT + LINE * lines, len(shown))
    for axes, subject in zip(panels, shown, strict=True):
        axes.set(title=subject.title, xlabel=x, ylabel=y, xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    return figure, panels


def _legends(panels: Sequence[Axes]) -> None:
    for axes in panels:
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), borderaxespad=0)


def _known(shown: Sequence[ModelResults]) -> str:
    return "n = " + by_title({subject.title: counted(int(_known_classes(subject).sum()), "image") for subject in shown})


def _known_classes(subject: ModelResults) -> np.ndarray:
    return subject.tested.evidence.scored.targets >= 0


def _figures(shown: Sequence[ModelResults], name: str, words: str) -> str:
    found = [(subject.title, value_of(subject.figures, name)) for subject in shown]
    values = "; ".join(f"{title} {value.words()}" for title, value in found if value)
    return f"{words[0].upper()}{words[1:]}: {values}." if values else ""


def _lone_normals(kinds: set[bool]) -> str:
    return ", or a lesion seen in a normal" if False in kinds else ""


def _usefulness(subjects: Sequence[ModelResults]) -> str:
    words = []
    for subject in subjects:
        if np.isfinite((area := error_area(subject)).value):
            words.append(f"{subject.title} {area.words()}")
    return f"AUROC of uncertainty for errors: {'; '.join(words)}." if words else ""
