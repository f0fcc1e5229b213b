from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, log_softmax, softmax

from orchestrator.ensemble.combiners.calibration import (
    COLDEST,
    HOTTEST,
    class_calibration,
    class_temperature,
    mask_temperature,
)


def _drawn(n: int = 20_000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and targets that are drawn from the very probabilities that the logits say."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (n, 3))
    return logits, (softmax(logits, axis=1).cumsum(1) < rng.random((n, 1))).sum(1)


def _pixels(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    logits = rng.normal(-1, 2, (20, 2000))
    return logits.astype(np.float32), rng.random(logits.shape) < expit(logits), rng.uniform(0.5, 2, logits.shape)


@pytest.mark.parametrize("factor", [0.25, 1.0, 7.0])
def test_a_temperature_undoes_what_logits_were_multiplied_by(factor: float) -> None:
    logits, targets = _drawn()
    assert class_temperature(logits * factor, targets) == pytest.approx(factor, rel=0.03)
    mask_logits, truth, weights = _pixels()
    assert mask_temperature(mask_logits * np.float32(factor), truth, weights) == pytest.approx(factor, rel=0.03)


@pytest.mark.parametrize("factor", [1e-3, 7.0, 1e4])
def test_logits_of_another_scale_have_that_scale_in_their_temperature(factor: float) -> None:
    logits, targets = _drawn(80)
    logits = logits.astype(np.float32)
    expected = factor * class_temperature(logits, targets)
    assert class_temperature(logits * np.float32(factor), targets) == pytest.approx(expected, rel=1e-6)
    mask_logits, truth, weights = _pixels()
    expected = factor * mask_temperature(mask_logits, truth, weights)
    assert mask_temperature(mask_logits * np.float32(factor), truth, weights) == pytest.approx(expected, rel=1e-6)


def test_no_other_temperature_has_less_loss() -> None:
    logits, targets = _drawn(60)
    found = class_temperature(logits, targets)
    losses = [-log_softmax(logits / (found * by), axis=1)[np.arange(60), targets].mean() for by in (0.99, 1, 1.01)]
    assert losses[1] == min(losses)


def test_a_pixel_counts_as_often_as_its_weight_says() -> None:
    logits, truth, _ = _pixels()
    weights = np.where(np.arange(2000) < 500, 2.0, 1.0) * np.ones((20, 1))
    twice = [np.concatenate([values[:, :500], values], axis=1) for values in (logits, truth)]
    expected = mask_temperature(*twice, np.ones((20, 2500)))
    assert mask_temperature(logits, truth, weights) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("scale", [1.0, 1e-4, 1e4])
def test_what_no_temperature_suits_has_a_limit(scale: float) -> None:
    targets = np.arange(12) % 3
    separated = scale * np.eye(3)[targets]
    centred = separated - separated.mean(1, keepdims=True)
    size = float(np.sqrt((centred**2).mean()))
    assert class_temperature(separated, targets) == pytest.approx(COLDEST * size)
    assert class_temperature(-separated, targets) == pytest.approx(HOTTEST * size)
    truth = np.eye(3)[targets] > 0
    logits = np.where(truth, scale, -scale)
    assert mask_temperature(logits, truth, np.ones((12, 3))) == pytest.approx(COLDEST * scale)
    assert mask_temperature(-logits, truth, np.ones((12, 3))) == pytest.approx(HOTTEST * scale)


def test_logits_that_say_nothing_are_finite() -> None:
    assert 0 < class_temperature(np.full((5, 3), 2.0), np.zeros(5, int)) < 1e3
    assert 0 < mask_temperature(np.zeros((5, 9), np.float32), np.zeros((5, 9), bool), np.ones((5, 9))) < 1e3
    temperature, bias = class_calibration(np.zeros((5, 3)), np.zeros(5, int), True)
    assert np.isfinite([temperature, *bias]).all()
    assert 0 < class_temperature(np.random.default_rng(0).normal(size=(9, 3)), np.ones(9, int)) < 1e3


@pytest.mark.parametrize("factor", [0.1, 1.0, 7.0])
def test_a_bias_undoes_a_shift_of_the_classes(factor: float) -> None:
    logits, targets = _drawn()
    shift = np.array([1.0, -0.7, -0.3])
    temperature, bias = class_calibration((logits - shift) * factor, targets, True)
    assert temperature == pytest.approx(factor, rel=0.03)
    assert bias == pytest.approx(shift, abs=0.06)
    assert sum(bias) == pytest.approx(0, abs=1e-9)
    assert class_calibration(logits, targets, False) == (class_temperature(logits, targets), ())


def test_a_class_without_an_image_keeps_a_finite_bias() -> None:
    logits, targets = _drawn(400)
    logits, targets = logits[targets < 2], targets[targets < 2]
    temperature, bias = class_calibration(logits, targets, True)
    assert 0 < temperature < 10
    assert bias[2] < min(bias[:2])
    # Where the least is, the slope of the cross-entropy is what the penalty's outweighs.
    excess = softmax(logits / temperature + bias, axis=1).sum(0) - np.bincount(targets, minlength=3)
    np.testing.assert_allclose(excess, np.negative(bias), atol=1e-5)
