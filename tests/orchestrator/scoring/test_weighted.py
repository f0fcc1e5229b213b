"""Metrics of all resamples at once are those of one resample after the other."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.scoring import weighted
from orchestrator.scoring.measure import ImageMetrics, resampled_scores, scores
from orchestrator.scoring.metrics import METRICS, resampled
from orchestrator.scoring.resampling import resample_counts, resamples
from orchestrator.scoring.values import ScoredPredictions, primary


def predictions(task: str, classes: int, images: int = 24, seed: int = 0) -> ImageMetrics:
    """Few images with ties, of unknown class, of unknown mask; resamples lack classes, lesions, normals."""
    rng = np.random.default_rng(seed)
    probabilities = np.round(rng.dirichlet(np.ones(classes), images), 1)
    probabilities /= probabilities.sum(1, keepdims=True)
    targets = rng.choice([-1, *range(classes), classes - 1], images)
    lesion = rng.random(images) < 0.7
    counts = rng.integers(0, 50, (images, 3)) * np.array([lesion, rng.random(images) < 0.6, lesion]).T
    has_mask = rng.random(images) < 0.8
    shown = has_mask & (counts[:, 0] + counts[:, 2] > 0)
    scored = ScoredPredictions(
        None if task == "seg" else probabilities,
        np.full(images, -1) if task == "seg" else targets,
        None if task == "cls" else counts,
        has_mask,
    )
    distances = np.where(shown, rng.random(images) * 30, np.nan)
    pixels = np.where(has_mask, 400, 0)
    return ImageMetrics(scored, distances, pixels, (), None)


def take(measured: ImageMetrics, rows: np.ndarray) -> ImageMetrics:
    return ImageMetrics(measured.scored.take(rows), measured.distances[rows], measured.pixels[rows], (), None)


@pytest.mark.parametrize(("task", "classes"), [("seg", 3), ("cls", 3), ("cls", 2), ("multi", 3), ("multi", 2)])
@pytest.mark.parametrize("images", [4, 24])
def test_the_same_numbers_as_one_after_the_other(task: str, classes: int, images: int) -> None:
    measured = predictions(task, classes, images)
    groups, labels = np.arange(images) // 2, np.zeros(images, np.int64)
    counts = resample_counts(groups, labels, 150, seed=1)
    found = resampled_scores(task, measured, counts)
    plain = [scores(task, take(measured, rows)) for rows in resamples(groups, labels, 150, seed=1)]
    names = {name for one in plain for name in one if resampled(name)}
    assert names <= set(found)
    for name in found:
        expected = np.array([one.get(name, np.nan) for one in plain])
        np.testing.assert_allclose(found[name], expected, rtol=1e-9, atol=1e-12, err_msg=name)
    values = [primary(task, take(measured, rows).scored) for rows in resamples(groups, labels, 150, seed=1)]
    np.testing.assert_allclose(weighted.primary(task, measured.scored, counts), values, rtol=1e-9)


def test_each_metric_that_models_are_compared_by_is_there() -> None:
    assert set(weighted.FAST) == {name for name, metric in METRICS.items() if metric.compared}
    measured = predictions("multi", 3)
    counts = resample_counts(np.arange(24), np.zeros(24, np.int64), 100, seed=0)
    plain = [scores("multi", take(measured, rows)) for rows in resamples(np.arange(24), np.zeros(24, np.int64), 100, 0)]
    whole = scores("multi", measured)
    for name, fast in weighted.FAST.items():
        expected = [one.get(name, np.nan) for one in plain]
        np.testing.assert_allclose(fast(measured.scored, counts), expected, rtol=1e-9, err_msg=name)
        assert weighted.once(fast, measured.scored) == pytest.approx(whole[name])


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = predictions("cls", 3)
    counts = resample_counts(np.arange(24), np.zeros(24, np.int64), 100, seed=0)
    whole = weighted.primary("cls", measured.scored, counts)
    monkeypatch.setattr(weighted, "BLOCK", 24 * 7)
    np.testing.assert_array_equal(weighted.primary("cls", measured.scored, counts), whole)
