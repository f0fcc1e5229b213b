"""The malignant probability on the page: what is drawn and told of a good model, of a broken promise, and of none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from orchestrator.inference.triage import Triage
from orchestrator.rendering.document import Chart, Table
from orchestrator.report.results import malignancy
from orchestrator.report.results.subject import ModelResults
from orchestrator.scoring.calibration import calibration
from orchestrator.scoring.net_benefit import decision_curve
from orchestrator.scoring.resampling import resample_counts
from orchestrator.scoring.triage import apply
from tests.support.subjects import subject

N = 300
TRIAGE = Triage(rate=0.05, rule_out_below=0.1, rule_in_above=0.9, malignant_groups=100, other_groups=200)


def told(triage: Triage = TRIAGE) -> ModelResults:
    """Of images whose classes follow the probabilities."""
    rng = np.random.default_rng(0)
    chances = rng.beta(0.6, 1.2, N)
    labels = np.where(rng.random(N) < chances, 2, rng.integers(0, 2, N))
    probabilities = np.stack([(1 - chances) / 2, (1 - chances) / 2, chances], 1)
    one = subject("cls", labels.tolist(), probabilities=probabilities)
    scored = one.tested.evidence.scored
    counts = resample_counts(np.arange(N), labels, 200, 0)
    figures = one.figures.model_copy(
        update={
            "calibration": calibration(scored, np.arange(N), 200),
            "decision_curve": decision_curve(scored, counts, np.arange(N)),
            "triage": apply(triage, scored),
        }
    )
    return replace(one, figures=figures)


def test_a_calibrated_model_is_told_with_figures_and_their_n() -> None:
    one = told()
    chart, calibrated, benefit, triaged = malignancy.blocks([one])
    assert isinstance(chart, Chart)
    assert f"n = {N} images" in chart.caption
    assert "Clearly better than both at thresholds of " in chart.caption
    for panel in ("images of the class, %", "malignant images, share", "net benefit"):
        assert panel in chart.svg
    assert isinstance(calibrated, Table)
    found = one.figures.calibration
    assert found is not None
    assert found.slope is not None
    assert calibrated.rows[0][2].startswith(f"{found.slope.value:.3f} (")
    assert isinstance(benefit, Table)
    assert [row[1] for row in benefit.rows] == ["2 %", "5 %", "10 %", "20 %", "30 %", "50 %"]
    assert isinstance(triaged, Table)
    assert triaged.rows[0][1:3] == ["yes", "at most 5.0 %"]


def test_a_promise_that_is_broken_is_told_as_broken() -> None:
    *_, triaged = malignancy.blocks([told(TRIAGE.model_copy(update={"rule_out_below": 0.6}))])
    assert isinstance(triaged, Table)
    assert triaged.rows[0][1].startswith("NO")


def test_a_model_of_which_nothing_is_known_has_nothing() -> None:
    probabilities = np.tile([0.2, 0.3, 0.5], (4, 1))
    assert malignancy.blocks([subject("cls", [0, 1, 2, 2], probabilities=probabilities)]) == []
