"""What new members are trained on: errors, sample weights, starts, and whether one helps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from orchestrator.ensemble import boosting
from orchestrator.ensemble.combiners.fits import Fits
from orchestrator.ensemble.held_out import OutOfFoldPredictions
from orchestrator.scoring.values import ScoredPredictions
from tests.support.candidates import candidate
from tests.support.heldouts import classification


def test_errors_of_classes_are_what_the_true_class_lacks() -> None:
    probabilities = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.4, 0.3, 0.3]])
    scored = ScoredPredictions(probabilities, np.array([0, 1, -1]), None, np.zeros(3, bool))
    np.testing.assert_allclose(boosting.errors(scored), [0.3, 0.9, np.nan])


def test_errors_of_masks_are_one_minus_dice_and_the_area_of_false_alarms() -> None:
    # Lesions of 100 and 300 pixels, a normal with a false alarm of 50, a clean normal, an unknown mask.
    counts = np.array([[100, 0, 0], [150, 0, 150], [0, 50, 0], [0, 0, 0], [9, 9, 9]])
    scored = ScoredPredictions(None, np.full(5, -1), counts, np.array([True, True, True, True, False]))
    np.testing.assert_allclose(boosting.errors(scored), [0, 1 / 3, 50 / 200, 0, np.nan])


def test_errors_of_both_heads_are_averaged() -> None:
    scored = ScoredPredictions(np.array([[0.5, 0.5]]), np.array([0]), np.array([[10, 0, 0]]), np.ones(1, bool))
    np.testing.assert_allclose(boosting.errors(scored), [0.25])


def test_weights_follow_the_errors_within_each_class() -> None:
    wrong = np.array([0.1, 0.1, 0.1, 0.7, 0.5, 0.5])
    labels = np.array([0, 0, 0, 0, 1, 1])
    found = boosting.emphasis(wrong, labels)
    raw = 0.5 + 0.5 * wrong[:4] / 0.25
    np.testing.assert_allclose(found.weights[:4], raw / raw.mean())
    np.testing.assert_allclose(found.weights[4:], 1)
    assert found.effective == pytest.approx(found.weights.sum() ** 2 / np.square(found.weights).sum())


def test_the_worst_are_listed_as_possible_label_errors_and_not_emphasised() -> None:
    wrong = np.full(80, 0.1)
    wrong[[3, 7]] = 0.99, 0.98
    found = boosting.emphasis(wrong, np.zeros(80, np.int64))
    assert found.suspects.tolist() == [3, 7]
    assert found.weights[3] == found.weights[7]
    assert found.weights[3] > found.weights[0]  # 1 before the mean was made 1, and the rest have less
    assert found.weights[3] < 3


def test_no_image_is_drawn_more_than_six_times_as_often_as_another_of_its_class() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 200)
    weights = boosting.emphasis(rng.random(200) ** 8, labels).weights
    for label in range(3):
        assert weights[labels == label].max() / weights[labels == label].min() <= 6 + 1e-9
        assert weights[labels == label].mean() == pytest.approx(1)


def test_equal_errors_are_nothing_to_boost_and_uneven_ones_are() -> None:
    assert boosting.emphasis(np.full(50, 0.3), np.zeros(50, np.int64)).even
    assert not boosting.emphasis(np.repeat([0.02, 0.6], 25), np.zeros(50, np.int64)).even


def test_images_of_which_nothing_is_known_keep_the_weight_of_one() -> None:
    found = boosting.emphasis(np.array([np.nan, 0.2, 0.4]), np.array([-1, 0, 0]))
    assert found.weights[0] == 1


def test_rounds_start_from_the_best_of_each_architecture_in_turn(tmp_path: Path) -> None:
    pool = [
        candidate(name, architecture, score, tmp_path)
        for name, architecture, score in (("a", "unet", 0.9), ("b", "unet", 0.8), ("c", "fpn", 0.7))
    ]
    assert [boosting.start_of(pool, number).name for number in (1, 2, 3, 4)] == ["a", "c", "b", "a"]


def test_a_round_fits_into_the_time_of_the_median_trial(tmp_path: Path) -> None:
    one = replace(candidate("a", "unet", 0.9, tmp_path), epoch=12, seconds=10.0)
    assert boosting.boost_epochs(one, folds=5, slots=5, median_seconds=100) == (6, "")
    epochs, note = boosting.boost_epochs(one, folds=5, slots=2, median_seconds=100)  # 5 on 2 slots: three in turn
    assert epochs == 3
    assert "3 epochs, not 6" in note
    assert boosting.boost_epochs(one, folds=5, slots=1, median_seconds=1)[0] == 1


def test_a_member_that_knows_the_answers_lowers_the_loss_and_noise_does_not() -> None:
    held = classification(seed=0, n=150)
    truth = np.where(np.eye(3, dtype=bool)[held.targets], 4.0, -4.0).astype(np.float32)
    noise = np.random.default_rng(1).normal(0, 2, truth.shape).astype(np.float32)

    def with_member(logits: np.ndarray) -> OutOfFoldPredictions:
        assert held.class_logits is not None
        more = np.concatenate([held.class_logits, logits[None]])
        return replace(held, names=(*held.names, "boost 1"), class_logits=more)

    gain = boosting.gain("cls", Fits(held), Fits(with_member(truth)))
    assert gain.fall > gain.error > 0
    assert gain.score_with > gain.score_before
    gain = boosting.gain("cls", Fits(held), Fits(with_member(noise)))
    assert gain.fall <= gain.error
