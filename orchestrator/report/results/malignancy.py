"""What the malignant probability is worth: how it spreads, whether it is what it says, and what acting on it gains."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from orchestrator.rendering.charts import FULL, INK, canvas, chart, styled
from orchestrator.rendering.document import Block, Chart, Table
from orchestrator.rendering.numbers import counted, number, percent, with_interval
from orchestrator.report.results.curves import CHANCE, draw_bins
from orchestrator.report.results.scores import cell
from orchestrator.report.results.subject import ModelResults
from orchestrator.scoring.net_benefit import DecisionCurve
from orchestrator.scoring.operating_points import malignant_probabilities
from orchestrator.scoring.triage import AppliedTriage
from trainables.charts import COLOURS, LINES
from trainables.metrics.cls import ECE_BINS

#: Thresholds of the table; the chart and the file of figures have all.
SHOWN = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
BINS = np.linspace(0, 1, 21)


def blocks(subjects: Sequence[ModelResults]) -> list[Block]:
    """All of it, of models that tell malignant from other images; nothing of others."""
    drawn = [(one, one.figures.decision_curve) for one in subjects if one.classes]
    shown: list[Block] = [panels(subject, curve) for subject, curve in drawn if curve]
    tables = [calibration(subjects), net_benefit(subjects), triage(subjects)]
    return [*shown, *(table for table in tables if table)]


@styled
def panels(subject: ModelResults, curve: DecisionCurve) -> Chart:
    """Probabilities by class, calibration, and the decision curve."""
    figure, (spread, calibrated, decision) = canvas(FULL, 3.4, 3)
    _spread(spread, subject)
    _calibrated(calibrated, subject)
    _decision(decision, curve)
    best = "; ".join(
        f"{percent(low, 1, 0)} to {percent(high, 1, 0)}" if high > low else percent(low, 1, 0)
        for low, high in _stretches([one.threshold for one in curve.useful])
    )
    caption = (
        f"{subject.title}: the malignant probability, n = {counted(curve.n, 'image')}, {curve.malignant:,} of them "
        f"malignant. Left: by class. Middle: {ECE_BINS} bins of about as many images each, with Wilson intervals of "
        "95 %. Right: net benefit of acting from a threshold upwards (Vickers and Elkin 2006), with its 95 % band "
        "over resamples of groups, beside acting on everybody and on nobody. Clearly better than both at "
        f"thresholds of {best or 'no probability'}. The share of malignant images here is taken for the prevalence; "
        "where malignancy is rarer, as in screening, the curve lies lower."
    )
    return chart(f"malignancy-{''.join(filter(str.isalpha, subject.title))}", figure, caption)


def calibration(subjects: Sequence[ModelResults]) -> Table | None:
    """Intercept and slope; None where no model has them."""
    found = [(one.title, one.figures.calibration) for one in subjects if one.figures.calibration]
    rows = [
        [title, cell(one.intercept), cell(one.slope), f"{one.malignant:,}", f"{one.n - one.malignant:,}"]
        for title, one in found
        if one
    ]
    caption = (
        "Calibration of the malignant probability by logistic recalibration (Cox 1958). Intercept: 0 where malignancy "
        "is as frequent as predicted, above 0 where it is more frequent. Slope: 1 where probabilities are as extreme "
        "as they should be, below 1 where they are too extreme. In brackets 95 % intervals over resamples of "
        "groups of all classes; - where the classes are told apart without an error."
    )
    columns = ("model", "intercept", "slope", "malignant", "others")
    return Table(caption, columns, rows) if rows else None


def net_benefit(subjects: Sequence[ModelResults]) -> Table | None:
    """The decision curve at a few thresholds; None where no model has one."""
    rows: list[list[str | int]] = []
    for subject in subjects:
        curve = subject.figures.decision_curve
        for one in curve.points if curve else ():
            if any(abs(one.threshold - threshold) < 1e-9 for threshold in SHOWN):
                rows.append(
                    [
                        subject.title,
                        percent(one.threshold, 1, 0),
                        cell(one.model),
                        number(one.everybody, 3),
                        with_interval(one.gain.value, one.gain.interval, 3, sign=True),
                    ]
                )
    caption = (
        "Net benefit: malignant images acted on less others acted on, weighted by the threshold's odds, an image; "
        "acting on nobody has 0. Gain: over the better of everybody and nobody, paired. In brackets 95 % intervals "
        "over resamples of groups within classes: the prevalence is taken as it is here."
    )
    columns = ("model", "acting from", "net benefit", "of everybody", "gain")
    return Table(caption, columns, rows, texts=2) if rows else None


def triage(subjects: Sequence[ModelResults]) -> Table | None:
    """What the shipped triage did here; None where no model has one."""
    found = [(one.title, one.figures.triage) for one in subjects if one.figures.triage]
    rows: list[list[str | int]] = [_triaged(title, one) for title, one in found if one]
    caption = (
        "Triage by class-conditional conformal prediction, calibrated on held-out predictions: of malignant images at "
        "most the promised share is ruled out, of others ruled in, on average over new patients of the same kind. "
        "Here: shares of these images with exact 95 % intervals (Clopper and Pearson), which take images for "
        "independent. The promise ends where patients are not exchangeable with those it was calibrated on (another "
        "device, hospital or prevalence of rare kinds); it was calibrated on single networks of the folds, while "
        "their mean predicts here; and with few malignant groups it holds by ruling little out."
    )
    columns = (
        "model",
        "kept",
        "promised",
        "malignant ruled out",
        "others ruled in",
        "uncertain",
        "ruled out below",
        "ruled in above",
        "calibrated on",
    )
    return Table(caption, columns, rows, texts=2) if rows else None


def _triaged(title: str, one: AppliedTriage) -> list[str | int]:
    return [
        title,
        "yes" if one.kept else "NO: clearly more errors than promised",
        f"at most {percent(one.rate, 1)}",
        cell(one.ruled_out),
        cell(one.ruled_in),
        cell(one.uncertain),
        number(one.rule_out_below, 3) if one.rule_out_below > 0 else "never",
        number(one.rule_in_above, 3) if one.rule_in_above < 1 else "never",
        f"{one.malignant_groups:,} and {one.other_groups:,} groups",
    ]


def _spread(axes: Axes, subject: ModelResults) -> None:
    scored = subject.tested.evidence.scored
    assert scored.probabilities is not None
    for index, name in enumerate(subject.classes):
        if (inside := scored.targets == index).any():
            heights = np.histogram(scored.probabilities[inside, -1], BINS)[0] / inside.sum()
            label = f"{name} (n = {int(inside.sum()):,})"
            axes.stairs(100 * heights, BINS, color=COLOURS[name], linestyle=LINES[name], linewidth=1.5, label=label)
    axes.set(xlabel="malignant probability", ylabel="images of the class, %", xlim=(0, 1))
    axes.legend(loc="upper center")


def _calibrated(axes: Axes, subject: ModelResults) -> None:
    chances, malignant = malignant_probabilities(subject.tested.evidence.scored)
    draw_bins(axes, chances, malignant)
    axes.set(xlabel="malignant probability", ylabel="malignant images, share", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    if (found := subject.figures.calibration) and found.slope and found.intercept:
        words = f"intercept {number(found.intercept.value, 2)}, slope {number(found.slope.value, 2)}"
        axes.set_title(words)


def _decision(axes: Axes, curve: DecisionCurve) -> None:
    thresholds = [100 * one.threshold for one in curve.points]
    bounds = [one.model.interval or (one.model.value, one.model.value) for one in curve.points]
    low, high = np.array(bounds).T
    axes.fill_between(thresholds, low, high, color=COLOURS["malignant"], alpha=0.15, linewidth=0)
    axes.plot(thresholds, [one.model.value for one in curve.points], color=COLOURS["malignant"], label="the model")
    axes.plot(thresholds, [one.everybody for one in curve.points], "--", color=INK, linewidth=1, label="everybody")
    axes.axhline(0, color=CHANCE, linewidth=0.8, label="nobody")
    axes.set(xlabel="threshold, %", ylabel="net benefit", ylim=(-0.05, curve.malignant / curve.n * 1.1))
    axes.legend(loc="upper right")


def _stretches(thresholds: Sequence[float]) -> list[tuple[float, float]]:
    """Runs of neighbouring thresholds: first and last of each."""
    found: list[tuple[float, float]] = []
    for one in thresholds:
        if found and one - found[-1][1] < 0.015:
            found[-1] = found[-1][0], one
        else:
            found.append((one, one))
    return found
