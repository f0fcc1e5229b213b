from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainables.data.manifest import TEST, UNKNOWN
from trainables.data.splits import SIDES, merge_groups, split

repeatable = settings(derandomize=True, deadline=None)


@st.composite
def datasets(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Groups of 1 to 8 images, most of one class, some mixed, some of unknown class; rows in any order."""
    sizes = draw(st.lists(st.integers(1, 8), min_size=30, max_size=80))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    groups = np.repeat(rng.permutation(len(sizes)) * 7, sizes)
    labels = np.repeat(rng.choice([UNKNOWN, 0, 1, 2], len(sizes), p=[0.1, 0.2, 0.4, 0.3]), sizes)
    mixed = rng.random(len(labels)) < 0.05
    labels[mixed] = rng.integers(0, 3, mixed.sum())
    order = rng.permutation(len(groups))
    digests = [hashlib.sha256(rng.bytes(8)).hexdigest() for _ in order]
    return groups[order], labels[order], digests


def strata(groups: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Each row's group's commonest class; the lower one where two are as common."""
    values = np.arange(UNKNOWN, 3)
    counts = {g: (labels[groups == g][:, None] == values).sum(0) for g in np.unique(groups)}
    return np.array([values[counts[g].argmax()] for g in groups])


@repeatable
@given(datasets(), st.integers(0, 3), st.integers(2, 6))
def test_no_group_straddles_and_every_bin_is_used(data, seed, folds):
    groups, labels, digests = data
    bins = split(groups, labels, digests, seed=seed, folds=folds)
    assert bins.dtype == np.int64
    assert set(bins) == {TEST, *range(folds)}
    assert all(len(set(bins[groups == g])) == 1 for g in groups)


@repeatable
@given(datasets(), st.integers(0, 3), st.integers(2, 6))
def test_each_class_is_within_its_largest_group_of_every_bins_target(data, seed, folds):
    groups, labels, digests = data
    bins = split(groups, labels, digests, seed=seed, folds=folds)
    classes = strata(groups, labels)
    for c in np.unique(classes):
        mine = bins[classes == c]
        largest = np.unique(groups[classes == c], return_counts=True)[1].max()
        assert abs((mine == TEST).sum() - 0.2 * len(mine)) <= largest
        in_folds = np.bincount(mine[mine != TEST], minlength=folds)
        assert np.abs(in_folds - in_folds.sum() / folds).max() <= largest


@repeatable
@given(datasets(), st.randoms(use_true_random=False))
def test_order_of_rows_and_numbers_of_groups_do_not_matter(data, random):
    groups, labels, digests = data
    expected = dict(zip(digests, split(groups, labels, digests), strict=True))
    order = list(range(len(groups)))
    random.shuffle(order)
    bins = split(1000 - groups[order], labels[order], [digests[i] for i in order])
    assert {digests[i]: b for i, b in zip(order, bins, strict=True)} == expected


@repeatable
@given(datasets())
def test_the_test_set_does_not_depend_on_the_number_of_folds(data):
    three, five = (split(*data, folds=folds) for folds in (3, 5))
    assert np.array_equal(three == TEST, five == TEST)


@st.composite
def given_splits(draw: st.DrawFn) -> tuple[tuple[np.ndarray, np.ndarray, list[str]], np.ndarray, int]:
    """A dataset, a side for each image whatever its group (validation or test perhaps for none), a number of folds."""
    groups, labels, digests = draw(datasets())
    present = draw(st.sampled_from([SIDES, SIDES[:2], SIDES[::2]]))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    sides = rng.choice(present, len(groups), p=[0.7, *[0.3 / (len(present) - 1)] * (len(present) - 1)])
    sides[: len(present)] = present
    return (groups, labels, digests), sides, draw(st.integers(2, 5))


@repeatable
@given(given_splits(), st.integers(0, 3))
def test_a_given_side_is_kept_and_the_rest_is_drawn_from_train(case, seed):
    data, sides, folds = case
    bins = split(*data, sides=sides.tolist(), seed=seed, folds=folds)
    drawn = {TEST, *range(folds)}
    for side, part in (("test", TEST), ("validation", 0)):
        if side in sides:
            assert set(bins[sides == side]) == {part}
            drawn.remove(part)
    assert set(bins[sides == "train"]) == drawn


@repeatable
@given(given_splits())
def test_train_images_of_a_group_stay_together_and_are_stratified(case):
    (groups, labels, digests), sides, folds = case
    bins = split(groups, labels, digests, sides=sides.tolist(), folds=folds)
    train = sides == "train"
    assert all(len(set(bins[train & (groups == g)])) == 1 for g in np.unique(groups[train]))
    classes = strata(groups[train], labels[train])
    folds_drawn = [fold for fold in range(folds) if fold > 0 or "validation" not in sides]
    for c in np.unique(classes):
        mine = bins[train][classes == c]
        largest = np.unique(groups[train][classes == c], return_counts=True)[1].max()
        in_folds = np.array([(mine == fold).sum() for fold in folds_drawn])
        assert np.abs(in_folds - in_folds.mean()).max() <= largest
        assert abs((mine == TEST).sum() - (0.2 * len(mine) if "test" not in sides else 0)) <= largest


@repeatable
@given(given_splits(), st.randoms(use_true_random=False))
def test_order_of_rows_does_not_matter_to_a_given_split(case, random):
    (groups, labels, digests), sides, folds = case
    expected = dict(zip(digests, split(groups, labels, digests, sides=sides.tolist(), folds=folds), strict=True))
    order = list(range(len(groups)))
    random.shuffle(order)
    bins = split(-groups[order], labels[order], [digests[i] for i in order], sides=sides[order].tolist(), folds=folds)
    assert {digests[i]: b for i, b in zip(order, bins, strict=True)} == expected


@repeatable
@given(given_splits(), st.integers(0, 3))
def test_the_given_images_do_not_change_what_is_drawn_from_train(case, seed):
    (groups, labels, digests), sides, folds = case
    bins = split(groups, labels, digests, sides=sides.tolist(), seed=seed, folds=folds)
    other = np.where(sides == "train", labels, (labels + 2) % 4 - 1)
    assert np.array_equal(split(groups, other, digests, sides=sides.tolist(), seed=seed, folds=folds), bins)


@repeatable
@given(datasets(), st.integers(0, 3))
def test_all_on_train_is_no_given_split(data, seed):
    assert np.array_equal(split(*data, sides=["train"] * len(data[0]), seed=seed), split(*data, seed=seed))


def test_too_few_train_groups_are_said_to_be_marked_so():
    sides = ["test"] * 5 + ["train"] * 2
    with pytest.raises(ValueError, match=r"^2 groups of images marked train are too few .* fold 2 would be empty"):
        split(np.arange(7), np.ones(7, np.int64), [str(i) for i in range(7)], sides=sides, folds=3)


def test_a_seed_gives_one_split_and_another_seed_another():
    labels = np.repeat([0, 1, 2], 20)
    first, again, other = (split(np.arange(60), labels, [str(i) for i in range(60)], seed=seed) for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert 0 < ((first == TEST) & (other == TEST)).sum() < (first == TEST).sum()


def test_large_groups_reach_the_test_set_too():
    groups = np.repeat(np.arange(60), np.repeat([4, 1], 30))
    bins = split(groups, np.ones(len(groups), np.int64), [f"{i:04}" for i in range(len(groups))])
    sizes = np.bincount(groups)[np.unique(groups[bins == TEST])]
    assert np.bincount(sizes)[[1, 4]].tolist() == [6, 6]


def test_a_class_of_one_group_is_trained_on():
    labels = np.array([2] + [1] * 40)
    assert split(np.arange(41), labels, [str(i) for i in range(41)])[0] != TEST


@pytest.mark.parametrize(("n", "folds"), [(0, 5), (1, 2), (5, 5)])
def test_too_few_groups_are_an_error_in_words(n, folds):
    with pytest.raises(ValueError, match=rf"^{n} groups of images are too few for a test set and {folds} folds"):
        split(np.arange(n), np.ones(n, np.int64), [str(i) for i in range(n)], folds=folds)


def test_one_group_more_than_the_folds_is_enough():
    bins = split(np.arange(6), np.ones(6, np.int64), [str(i) for i in range(6)], folds=5)
    assert sorted(bins) == [TEST, 0, 1, 2, 3, 4]


def test_merging_joins_what_any_key_joins():
    patients = ["a", "", "b", "", "b", "c", ""]
    clusters = np.array([0, 1, 2, 1, 3, 0, 4])
    scans = [-1, -1, -1, 9, -1, -1, 9]
    assert merge_groups(patients, clusters, scans).tolist() == [0, 1, 2, 1, 2, 0, 1]


def test_unknown_keys_join_nothing():
    groups = merge_groups(["", "", ""], [-1, -1, -1])
    assert groups.tolist() == [0, 1, 2]
    assert groups.dtype == np.int64


@repeatable
@given(st.lists(st.tuples(st.sampled_from("abcde"), st.integers(0, 4)), min_size=1, max_size=30))
def test_merged_groups_are_closed_under_every_key(rows):
    keys = list(zip(*rows, strict=True))
    groups = merge_groups(*keys)
    for key in keys:
        for value in key:
            assert len({g for g, v in zip(groups, key, strict=True) if v == value}) == 1
