from __future__ import annotations

import math

import numpy as np
import pytest
import sklearn.metrics as reference
import torch

from trainables.metrics.cls import (
    ClassificationMetrics,
    apply_threshold,
    calibration_error,
    classification_scores,
    operating_point,
    wilson_interval,
)

NAMES = {2: ("benign", "malignant"), 3: ("normal", "benign", "malignant")}


def _predictions(count: int = 80, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.choice(classes, count, p=[0.2, 0.5, 0.3][-classes:] / np.sum([0.2, 0.5, 0.3][-classes:]))
    logits = rng.normal(size=(count, classes)) + 1.5 * np.eye(classes)[labels]
    return np.exp(logits) / np.exp(logits).sum(1, keepdims=True), labels


@pytest.mark.parametrize("classes", [2, 3])
def test_scores_are_those_of_scikit_learn(classes: int) -> None:
    p, y = _predictions(classes=classes)
    found, guess, one_hot = classification_scores(p, y), p.argmax(1), np.eye(classes)[y]
    expected = {
        "accuracy": reference.accuracy_score(y, guess),
        "balanced_accuracy": reference.balanced_accuracy_score(y, guess),
        "precision": reference.precision_score(y, guess, average="macro"),
        "recall": reference.recall_score(y, guess, average="macro"),
        "f1": reference.f1_score(y, guess, average="macro"),
        "auroc": reference.roc_auc_score(one_hot, p, average="macro"),
        "map": reference.average_precision_score(one_hot, p, average="macro"),
        "nll": reference.log_loss(y, p),
        "brier": np.mean(np.sum((p - one_hot) ** 2, axis=1)),
    }
    precision, recall, f1, _ = reference.precision_recall_fscore_support(y, guess)
    for index, name in enumerate(NAMES[classes]):
        tn, fp, _, _ = reference.confusion_matrix(y == index, guess == index).ravel()
        expected |= {
            f"precision_{name}": precision[index],
            f"recall_{name}": recall[index],
            f"f1_{name}": f1[index],
            f"specificity_{name}": tn / (tn + fp),
            f"auroc_{name}": reference.roc_auc_score(y == index, p[:, index]),
        }
    expected["specificity"] = np.mean([expected[f"specificity_{name}"] for name in NAMES[classes]])
    others = {"ece", "sensitivity_at_90_specificity", "specificity_at_95_sensitivity"}
    assert set(found) == set(expected) | others
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def _at(p: np.ndarray, malignant: np.ndarray) -> tuple[float, float]:
    """Both operating points by trying every threshold there is."""
    tried = [((p >= t)[malignant].mean(), (p < t)[~malignant].mean()) for t in [*p, np.inf]]
    return max(s for s, spared in tried if spared >= 0.9), max(spared for s, spared in tried if s >= 0.95)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("digits", [1, 16])
def test_malignant_operating_points_are_the_best_there_are(seed: int, digits: int) -> None:
    p, y = _predictions(seed=seed)
    p[:, 2] = p[:, 2].round(digits)
    found = classification_scores(p, y)
    expected = _at(p[:, 2], y == 2)
    assert (found["sensitivity_at_90_specificity"], found["specificity_at_95_sensitivity"]) == pytest.approx(expected)


def test_a_threshold_does_on_its_own_images_what_it_was_fitted_for() -> None:
    p, y = _predictions(400)
    score, malignant = p[:, 2], y == 2
    for rate in ({"specificity": 0.9}, {"sensitivity": 0.95}, {"sensitivity": 1.0}, {"specificity": 1.0}):
        threshold = operating_point(score, malignant, **rate)
        result = apply_threshold(score, malignant, threshold)
        ((name, value),) = rate.items()
        assert getattr(result, name) >= value
        assert result.sensitivity == pytest.approx(reference.recall_score(malignant, score >= threshold))
        assert result.specificity == pytest.approx(reference.recall_score(~malignant, score < threshold))
        assert (result.positives, result.negatives) == (malignant.sum(), (~malignant).sum())


def test_a_specificity_that_only_silence_keeps_gives_a_finite_threshold() -> None:
    score, malignant = np.array([0.9, 0.8, 0.1], np.float32), np.array([False, True, True])
    threshold = operating_point(score, malignant, specificity=0.9)
    assert math.isfinite(threshold)
    assert apply_threshold(score, malignant, threshold) == (0, 2, 1, 1)


def test_rates_are_reached_whatever_the_rounding() -> None:
    """19 of 20 is .95, and 9 of 10 is .9, though 1 - .1 is not."""
    score = np.concatenate([np.arange(20) / 20 + 0.5, np.arange(10) / 10])
    malignant = np.arange(30) < 20
    for order in (slice(None), slice(None, None, -1)):
        found = operating_point(score[order], malignant[order], sensitivity=0.95)
        assert found == pytest.approx(0.55)
    assert operating_point(score, malignant, specificity=0.9) == pytest.approx(0.85)


def test_an_operating_point_needs_one_rate_and_both_kinds() -> None:
    score, malignant = np.array([0.1, 0.9]), np.array([False, True])
    for rates in ({}, {"specificity": 0.9, "sensitivity": 0.9}):
        with pytest.raises(ValueError, match="give one"):
            operating_point(score, malignant, **rates)
    with pytest.raises(ValueError, match="images that are malignant"):
        operating_point(score, np.array([True, True]), specificity=0.9)


@pytest.mark.parametrize("present", [(0, 1), (1, 2), (0, 2), (2,), (0,)])
def test_absent_classes_are_left_out_and_nothing_is_nan(present: tuple[int, ...]) -> None:
    p, y = _predictions()
    kept = np.isin(y, present)
    p, y = p[kept], y[kept]
    found = classification_scores(p, y)
    assert all(math.isfinite(value) for value in found.values())
    names = [NAMES[3][index] for index in present]
    assert {name.split("_")[1] for name in found if name.startswith("recall_")} == set(names)
    assert found["balanced_accuracy"] == pytest.approx(np.mean([found[f"recall_{name}"] for name in names]))
    if len(present) == 1:
        assert not {"auroc", "map", "specificity", "sensitivity_at_90_specificity"} & set(found)
    else:
        assert found["auroc"] == pytest.approx(np.mean([found[f"auroc_{name}"] for name in names]))
        assert ("specificity_at_95_sensitivity" in found) == (2 in present)


def test_certain_and_wrong_is_finite() -> None:
    found = classification_scores(np.eye(3)[[1, 2, 0]], np.array([0, 1, 2]))
    assert found["nll"] == pytest.approx(reference.log_loss([0, 1, 2], np.eye(3)[[1, 2, 0]]))
    assert (found["brier"], found["accuracy"], found["f1"], found["ece"]) == pytest.approx((2, 0, 0, 1))


def test_calibration_error_is_that_of_its_definition() -> None:
    p, y = _predictions(200)
    order = p.max(1).argsort()
    bins = np.array_split(order, 10)
    gaps = [abs(p[rows].max(1).mean() - (p[rows].argmax(1) == y[rows]).mean()) for rows in bins]
    assert calibration_error(p, y) == pytest.approx(np.mean(gaps))
    shuffled = np.random.default_rng(1).permutation(200)
    assert calibration_error(p[shuffled], y[shuffled]) == pytest.approx(calibration_error(p, y))


def test_one_confidence_for_all_is_one_bin() -> None:
    p = np.tile([0.7, 0.2, 0.1], (40, 1))
    y = np.repeat([0, 1], 20)
    assert calibration_error(p, y) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    # Newcombe, Statistics in Medicine 17 (1998), 857-872, table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_intervals_are_the_published_ones(successes: int, n: int, low: float, high: float) -> None:
    assert wilson_interval(successes, n) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (3, 2), (-1, 2)])
def test_what_is_no_share_has_no_interval(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match="no share"):
        wilson_interval(successes, n)


def test_batches_add_up_and_unknown_labels_do_not_count() -> None:
    p, y = _predictions(30)
    logits, labels = torch.from_numpy(np.log(p)).float(), torch.from_numpy(y)
    metrics = ClassificationMetrics(3)
    metrics.update(logits[:11], labels[:11])
    metrics.update(logits[:5], torch.full((5,), -1))
    metrics.update(logits[11:], labels[11:])
    assert metrics.compute() == pytest.approx(classification_scores(p, y), rel=1e-5)


def test_nothing_scores_nothing() -> None:
    metrics = ClassificationMetrics(3)
    assert metrics.compute() == {}
    metrics.update(torch.zeros(2, 3), torch.tensor([-1, -1]))
    assert metrics.compute() == {}


def test_logits_that_overflow_score_as_knowing_nothing() -> None:
    metrics = ClassificationMetrics(2)
    metrics.update(torch.tensor([[float("nan"), 0.0], [float("inf"), float("inf")]]), torch.tensor([0, 1]))
    scores = metrics.compute()
    assert (scores["auroc"], scores["nll"]) == pytest.approx((0.5, math.log(2)))


def test_logits_of_another_number_of_classes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\[B, 2\].*\[4, 3\]"):
        ClassificationMetrics(2).update(torch.zeros(4, 3), torch.zeros(4, dtype=torch.int64))
