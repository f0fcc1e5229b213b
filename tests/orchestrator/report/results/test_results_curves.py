"""Curves of models whose right answers are known."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from orchestrator.report.results import curves
from orchestrator.report.results.curves import confidence, probability_bins
from orchestrator.scoring.operating_points import operating_thresholds
from tests.support.subjects import mask, subject
from trainables.metrics.cls import calibration_error

N = 60
LABELS = [i % 3 for i in range(N)]
RNG = np.random.default_rng(0)
CHANCES = RNG.dirichlet(np.ones(3), N)
CLASSIFIER = subject("cls", LABELS, probabilities=CHANCES, title="classes", uncertainty=RNG.random(N).tolist())
TRUE = [mask(0 if label == 0 else 10) for label in LABELS]
SEGMENTER = subject("seg", LABELS, true=TRUE, predicted=[mask(10, 10 * (i % 4 == 1)) for i in range(N)], title="masks")
ALL = [SEGMENTER, CLASSIFIER]


def _texts(chart: curves.Chart | None) -> list[str]:
    assert chart
    ET.fromstring(str(chart.svg).replace("&nbsp;", " "))
    return re.findall(r"<text[^>]*>([^<]*)</text>", str(chart.svg))


@pytest.mark.parametrize("draw", [curves.roc, curves.precision_recall, curves.calibration])
def test_curves_of_classes_show_the_models_that_have_classes(draw: object) -> None:
    assert callable(draw)
    texts = _texts(draw(ALL))
    assert "classes" in texts
    assert "masks" not in texts
    assert "n = 60 images" in draw(ALL).caption
    assert draw([SEGMENTER]) is None


def test_roc_tells_area_and_marks_operating_points() -> None:
    area = CLASSIFIER.figures.scores["auroc_malignant"].value
    plain = _texts(curves.roc([CLASSIFIER]))
    assert any(text.startswith(f"malignant (n = 20), AUROC {area:.3f} (") for text in plain)
    assert not any("held out" in text for text in plain)
    points = operating_thresholds(CLASSIFIER.tested.evidence.scored)
    marked = _texts(curves.roc([subject("cls", LABELS, probabilities=CHANCES, points=points)]))
    assert [text.split(": ")[1] for text in marked if "held out" in text] == [
        "90 % specificity held out",
        "95 % sensitivity held out",
    ]


def test_a_single_class_has_no_roc_but_a_calibration() -> None:
    lone = subject("cls", [1] * 12, probabilities=CHANCES[:12])
    assert curves.roc([lone]) is None
    assert curves.precision_recall([lone]) is None
    assert curves.calibration([lone])


@pytest.mark.parametrize("digits", [1, 16])
def test_bins_are_those_of_the_calibration_error(digits: int) -> None:
    labels, chances = np.array([-1, *LABELS[1:]]), CHANCES.round(digits)
    one = subject("cls", labels.tolist(), probabilities=chances)
    mean, right, n = probability_bins(*confidence(one))
    assert n.sum() == N - 1
    error = (np.abs(mean - right / n) * n).sum() / n.sum()
    assert error == pytest.approx(calibration_error(chances[labels >= 0], labels[labels >= 0]))


def test_dice_of_images_without_overlap_is_counted() -> None:
    chart = curves.dice_histogram(ALL)
    missed, lesions = sum(i % 4 == 1 and i % 3 > 0 for i in range(N)), 40
    assert chart
    assert f"masks: median 1.000, {missed} of {lesions} without any overlap" in chart.caption
    assert "malignant (n = 20)" in _texts(chart)
    assert curves.dice_histogram([CLASSIFIER]) is None


def test_risk_and_coverage_says_what_an_error_is() -> None:
    chart = curves.risk_coverage(ALL)
    texts = _texts(chart)
    wrong = int((CHANCES.argmax(1) != LABELS).sum())
    assert f"classes: {wrong} errors of 60" in texts
    assert any(text.startswith("masks: ") for text in texts)
    assert chart
    assert "another class or, without classes, Dice below 0.5" in chart.caption
    alone = curves.risk_coverage([CLASSIFIER])
    assert alone
    assert "Dice" not in alone.caption
    assert curves.risk_coverage([subject("cls", [-1, -1], probabilities=CHANCES[:2])]) is None


def test_no_model_draws_nothing() -> None:
    for draw in (curves.roc, curves.precision_recall, curves.calibration, curves.dice_histogram, curves.risk_coverage):
        assert draw([]) is None
