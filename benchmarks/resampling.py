"""Seconds for all metrics of 2,000 resamples: one after the other, and all at once; beside one curve of scikit-learn.

`python -m benchmarks.resampling` prints a table; both ways are timed in one run, and give the same numbers.
"""

from __future__ import annotations

import time

import numpy as np
from sklearn.metrics import roc_auc_score

from orchestrator.scoring.measure import ImageMetrics, resampled_scores, scores
from orchestrator.scoring.resampling import INTERVAL, resample_counts, resamples
from orchestrator.scoring.values import ScoredPredictions

IMAGES = (19, 122, 780)


def main() -> None:
    """Measure and print."""
    print("| images | one after the other, s | all at once, s | ratio | one AUROC of scikit-learn, ms |")
    print("| --- | --- | --- | --- | --- |")
    for images in IMAGES:
        measured, groups = _made_up(images), np.arange(images)
        labels = measured.scored.targets
        began = time.perf_counter()
        plain = [
            scores("multi", _take(measured, rows))["auroc"] for rows in resamples(groups, labels, INTERVAL, seed=0)
        ]
        middle = time.perf_counter()
        found = resampled_scores("multi", measured, resample_counts(groups, labels, INTERVAL, seed=0))["auroc"]
        end = time.perf_counter()
        np.testing.assert_allclose(found, plain, rtol=1e-9)
        assert measured.scored.probabilities is not None
        for _ in range(100):
            roc_auc_score(labels == 2, measured.scored.probabilities[:, 2])
        curve = (time.perf_counter() - end) * 10
        slow, fast = middle - began, end - middle
        print(f"| {images} | {slow:.1f} | {fast:.3f} | {slow / fast:.0f} | {curve:.2f} |")


def _made_up(images: int) -> ImageMetrics:
    rng = np.random.default_rng(0)
    labels = np.arange(images) % 3
    probabilities = rng.dirichlet(np.ones(3), images)
    counts = rng.integers(0, 500, (images, 3)) * (labels > 0)[:, None]
    scored = ScoredPredictions(probabilities, labels, counts, np.ones(images, bool))
    return ImageMetrics(scored, np.where(labels > 0, 5.0, np.nan), np.full(images, 4000), (), None)


def _take(measured: ImageMetrics, rows: np.ndarray) -> ImageMetrics:
    return ImageMetrics(measured.scored.take(rows), measured.distances[rows], measured.pixels[rows], (), None)


if __name__ == "__main__":
    main()
