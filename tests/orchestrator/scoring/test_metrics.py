"""Primary metrics from ranks and counts, held to the metrics that training logs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from orchestrator.scoring.values import (
    ScoredPredictions,
    auroc,
    binary_auroc,
    dice,
    dice_by_image,
    fpr_normal,
    primary,
)
from trainables.metrics.cls import classification_scores
from trainables.metrics.seg import segmentation_scores


def _scored(count: int = 60, seed: int = 0, classes: int = 3, digits: int = 16) -> ScoredPredictions:
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, classes, count)
    chances = np.exp(rng.normal(size=(count, classes)) + np.eye(classes)[targets])
    counts = rng.integers(0, 40, (count, 3))
    counts[::3, [0, 2]] = 0  # normals
    counts[::6, 1] = 0  # of which half are left alone
    probabilities = (chances / chances.sum(1, keepdims=True)).round(digits)
    return ScoredPredictions(probabilities, targets, counts, np.ones(count, bool))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("digits", [1, 16])
@pytest.mark.parametrize("classes", [2, 3])
def test_auroc_is_that_of_the_classification_metrics(classes: int, digits: int, seed: int) -> None:
    scored = _scored(seed=seed, classes=classes, digits=digits)
    expected = classification_scores(scored.probabilities, scored.targets)["auroc"]
    assert primary("cls", scored) == pytest.approx(expected, abs=1e-12)


def test_ties_count_half() -> None:
    scores, positive = np.array([0.2, 0.2, 0.7, 0.1]), np.array([True, False, True, False])
    assert binary_auroc(scores, positive) == pytest.approx(roc_auc_score(positive, scores))
    assert binary_auroc(np.ones(4), positive) == 0.5


def test_masks_score_as_the_segmentation_metrics() -> None:
    scored = _scored()
    expected = segmentation_scores(torch.from_numpy(scored.counts))
    assert primary("seg", scored) == pytest.approx(expected["dice"])
    assert fpr_normal(scored) == pytest.approx(expected["fpr_normal"])
    assert dice_by_image(scored.counts).mean() == pytest.approx(expected["dice_all"])


def test_multi_is_the_mean_of_both() -> None:
    scored = _scored()
    assert primary("multi", scored) == pytest.approx((dice(scored) + auroc(scored)) / 2)


def test_what_is_not_known_does_not_count() -> None:
    scored = _scored()
    hidden = np.arange(60) % 4 == 0
    kept = scored.take(np.flatnonzero(~hidden))
    targets = np.where(hidden, -1, scored.targets)
    partly = ScoredPredictions(scored.probabilities, targets, scored.counts, ~hidden)
    for task in ("seg", "cls", "multi"):
        assert primary(task, partly) == primary(task, kept)
    assert fpr_normal(partly) == fpr_normal(kept)


def test_an_absent_class_is_left_out_of_the_mean() -> None:
    scored = _scored()
    lesions = scored.take(np.flatnonzero(scored.targets > 0))
    expected = classification_scores(lesions.probabilities, lesions.targets)["auroc"]
    assert primary("cls", lesions) == pytest.approx(expected, abs=1e-12)


def test_without_anything_to_rest_on_there_is_no_score() -> None:
    scored = _scored()
    normals = scored.take(np.arange(0, 60, 3))
    one_class = scored.take(np.flatnonzero(scored.targets == 1))
    assert math.isnan(primary("seg", normals))
    assert math.isnan(primary("cls", one_class))
    assert math.isnan(fpr_normal(scored.take(np.flatnonzero(scored.counts[:, 0] > 0))))
    assert math.isnan(fpr_normal(ScoredPredictions(scored.probabilities, scored.targets, None, scored.has_mask)))
    # Multi then scores by what is left.
    assert primary("multi", normals) == auroc(normals)
    assert primary("multi", one_class) == dice(one_class)


def test_parts_join_to_the_whole_and_rows_repeat() -> None:
    scored = _scored()
    joined = ScoredPredictions.join([scored.take(np.arange(20)), scored.take(np.arange(20, 60))])
    assert primary("multi", joined) == primary("multi", scored)
    twice = scored.take(np.repeat(np.arange(60), 2))
    assert len(twice) == 120
    assert primary("multi", twice) == pytest.approx(primary("multi", scored))
