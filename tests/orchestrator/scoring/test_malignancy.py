"""Calibration and decision curves: known answers of models that are calibrated, useless, shifted and too extreme."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from orchestrator.scoring.calibration import calibration
from orchestrator.scoring.net_benefit import decision_curve, net_benefit
from orchestrator.scoring.resampling import resample_counts
from orchestrator.scoring.values import ScoredPredictions

N = 4000


def predictions(chances: np.ndarray, malignant: np.ndarray) -> ScoredPredictions:
    probabilities = np.stack([1 - chances, chances], 1)
    return ScoredPredictions(probabilities, malignant.astype(np.int64), None, np.zeros(len(chances), bool))


def made_up(*, scale: float = 1, shift: float = 0) -> ScoredPredictions:
    """Outcomes follow the logits; what the model says is off by a factor and a constant."""
    rng = np.random.default_rng(0)
    logits = rng.normal(-0.5, 1.5, N)
    malignant = rng.random(N) < 1 / (1 + np.exp(-logits))
    return predictions(1 / (1 + np.exp(-(scale * logits + shift))), malignant)


def counts(scored: ScoredPredictions, times: int = 200) -> np.ndarray:
    return resample_counts(np.arange(len(scored)), scored.targets, times, 0)


@pytest.mark.parametrize(("scale", "shift", "slope", "intercept"), [(1, 0, 1, 0), (2, 0, 0.5, None), (1, 1, 1, -1)])
def test_a_model_is_as_far_off_as_it_was_made(
    scale: float, shift: float, slope: float, intercept: float | None
) -> None:
    scored = made_up(scale=scale, shift=shift)
    found = calibration(scored, np.arange(N), 200)
    assert found
    assert found.slope
    assert found.intercept
    assert found.slope.interval
    assert found.intercept.interval
    assert found.slope.value == pytest.approx(slope, abs=0.06 * slope)
    assert found.slope.interval[0] < slope < found.slope.interval[1]
    if intercept is not None:
        assert found.intercept.interval[0] < intercept < found.intercept.interval[1]


def test_the_intercepts_interval_is_as_wide_as_theory_has_it() -> None:
    scored = made_up().take(np.arange(400))
    assert scored.probabilities is not None
    found = calibration(scored, np.arange(400), 2000)
    assert found
    assert found.intercept
    assert found.intercept.interval
    chances = scored.probabilities[:, 1]
    low, high = found.intercept.interval
    assert high - low == pytest.approx(2 * 1.96 / np.sqrt((chances * (1 - chances)).sum()), rel=0.1)


def test_the_slope_is_that_of_a_logistic_regression() -> None:
    scored = made_up(scale=1.7, shift=0.4).take(np.arange(300))
    assert scored.probabilities is not None
    found = calibration(scored, np.arange(300), 0)
    logits = np.log(scored.probabilities[:, 1] / scored.probabilities[:, 0])[:, None]
    reference = LogisticRegression(C=np.inf, tol=1e-10).fit(logits, scored.targets)
    assert found
    assert found.slope
    assert found.slope.value == pytest.approx(reference.coef_[0, 0], rel=1e-4)
    assert found.slope.interval is None


def test_classes_that_a_threshold_tells_apart_have_no_slope() -> None:
    malignant = np.arange(40) >= 20
    scored = predictions(np.linspace(0.01, 0.99, 40), malignant)
    found = calibration(scored, np.arange(40), 200)
    assert found
    assert found.slope is None
    assert found.intercept  # at a slope of 1 there is one


def test_net_benefit_by_hand_and_of_acting_on_everybody() -> None:
    chances, malignant = np.array([0.1, 0.3, 0.3, 0.9]), np.array([False, True, False, True])
    model, everybody = net_benefit(chances, malignant, np.array([0.2, 0.5]), np.ones((1, 4)))
    assert model[0] == pytest.approx([2 / 4 - 1 / 4 * 0.25, 1 / 4])
    assert everybody[0] == pytest.approx([0.5 - 0.5 * 0.25, 0.0])


def test_a_useless_model_gains_nothing_and_a_calibrated_one_does() -> None:
    useless = predictions(np.full(N, 0.35), made_up().targets == 1)
    curve = decision_curve(useless, counts(useless), np.arange(N))
    assert curve
    assert not curve.useful
    good = made_up()
    curve = decision_curve(good, counts(good), np.arange(N))
    assert curve
    assert {0.2, 0.3, 0.5} <= {one.threshold for one in curve.useful}
    # Nobody who is calibrated loses by acting on what the model says, at any threshold.
    assert all(one.gain.value > -0.005 for one in curve.points)


def test_few_groups_have_no_interval_and_one_kind_has_no_curve() -> None:
    scored = made_up().take(np.arange(60))
    curve = decision_curve(scored, counts(scored), np.arange(60) % 8)
    assert curve
    assert all(one.model.interval is None for one in curve.points)
    rows = np.flatnonzero(scored.targets == 1)
    assert decision_curve(scored.take(rows), np.empty((0, len(rows))), rows) is None
    assert calibration(scored.take(rows), rows, 0) is None
