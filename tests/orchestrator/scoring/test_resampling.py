"""Resamples keep groups whole and classes in proportion; errors and intervals have known answers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from orchestrator.scoring import weighted
from orchestrator.scoring.resampling import interval, paired_interval, resample_counts, resamples, standard_error
from orchestrator.scoring.values import ScoredPredictions


def _classes(p: np.ndarray, targets: np.ndarray) -> ScoredPredictions:
    return ScoredPredictions(np.stack([1 - p, p], axis=1), targets, None, np.zeros(len(p), bool))


def test_groups_are_drawn_whole() -> None:
    groups = np.array([7, 3, 7, 9, 3, 7])
    for rows in resamples(groups, np.ones(6, np.int64), 50, seed=0):
        times = np.bincount(rows, minlength=6)
        assert times[0] == times[2] == times[5]
        assert times[1] == times[4]
        assert times[0] + times[1] + times[3] == 3  # as many groups as there are


def test_every_class_keeps_its_number_of_groups() -> None:
    labels = np.repeat([-1, 0, 1, 2], [2, 5, 20, 1])
    for rows in resamples(np.arange(28), labels, 50, seed=0):
        assert np.unique(labels[rows], return_counts=True)[1].tolist() == [2, 5, 20, 1]


def test_a_group_belongs_to_its_commonest_label() -> None:
    labels = np.array([1, 1, 0, 0, 2])
    groups = np.array([0, 0, 0, 1, 2])
    # Each of the three groups is alone in its stratum: nothing is left to chance.
    assert {tuple(sorted(rows)) for rows in resamples(groups, labels, 20, seed=0)} == {(0, 1, 2, 3, 4)}


def test_the_same_seed_gives_the_same_samples_and_another_seed_others() -> None:
    groups, labels = np.arange(40), np.arange(40) % 3
    first, again, other = (np.array(resamples(groups, labels, 5, seed)) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_the_spread_of_a_share_is_the_textbook_one() -> None:
    hits = np.arange(100) < 30
    drawn = resamples(np.arange(100), np.zeros(100, np.int64), 4000, seed=0)
    values = np.array([hits[rows].mean() for rows in drawn])
    assert standard_error(values) == pytest.approx(math.sqrt(0.3 * 0.7 / 100), rel=0.05)
    assert interval(values) == pytest.approx((0.21, 0.39), abs=0.011)


def test_images_of_a_patient_count_once() -> None:
    """Ten copies of each image say no more than one: without groups the error would be 3 times too small."""
    rng = np.random.default_rng(0)
    targets = np.arange(60) % 2
    scored = _classes(rng.random(60) * 0.6 + 0.4 * targets, targets)
    copies = np.repeat(np.arange(60), 10)

    def error(one: ScoredPredictions, groups: np.ndarray) -> float:
        return standard_error(weighted.primary("cls", one, resample_counts(groups, one.targets, 300, seed=0)))

    alone = error(scored, np.arange(60))
    assert error(scored.take(copies), copies) == pytest.approx(alone, rel=0.15)
    assert error(scored.take(copies), np.arange(600)) < 0.5 * alone


def test_samples_without_a_value_do_not_count() -> None:
    values = np.array([np.nan, 1.0, 2.0, 3.0, np.nan])
    assert standard_error(values) == 1
    assert interval(values) == pytest.approx((1.05, 2.95))
    assert all(math.isnan(one) for one in (*interval(values[:1]), standard_error(values[:2])))


def test_a_model_is_as_good_as_itself() -> None:
    targets = np.arange(40) % 2
    scored = _classes(np.random.default_rng(0).random(40), targets)
    assert paired_interval("cls", scored, scored, np.arange(40), targets) == (0, 0, 0)


def test_pairing_finds_a_small_difference_that_is_always_there() -> None:
    rng = np.random.default_rng(0)
    targets = np.arange(300) % 2
    noise = rng.normal(size=300)
    good = _classes(1 / (1 + np.exp(-noise - 1.4 * targets)), targets)
    worse = _classes(1 / (1 + np.exp(-noise - 1.0 * targets)), targets)
    difference, low, high = paired_interval("cls", good, worse, np.arange(300), targets)
    assert 0 < low < difference < high
    counts = resample_counts(np.arange(300), targets, 300, seed=0)
    alone = standard_error(weighted.primary("cls", good, counts))
    assert high - low < 2 * alone  # unpaired samples would give 5.5
    swapped = paired_interval("cls", worse, good, np.arange(300), targets)
    assert swapped == pytest.approx((-difference, -high, -low))
