"""Differences of two models on the same images."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from orchestrator.report.results.paired import Paired, differences, table
from orchestrator.report.results.subject import ModelResults
from orchestrator.scoring.metrics import METRICS
from orchestrator.scoring.resampling import paired_interval
from orchestrator.scoring.values import ScoredPredictions
from orchestrator.scoring.weighted import FAST, once
from tests.support.subjects import mask, subject, sure
from trainables.metrics.cls import classification_scores

N = 36
LABELS = [i % 3 for i in range(N)]
TRUE = [mask(0 if label == 0 else 10) for label in LABELS]
GOOD = subject("seg", LABELS, true=TRUE, predicted=TRUE, title="good")
HALF = [mask(1 if label == 0 and i % 2 else 0 if label == 0 else 5 - i % 2) for i, label in enumerate(LABELS)]

#: What two models are compared by, by part of the table.
MASKS, CLASS = (
    {name: partial(once, FAST[name]) for name, one in METRICS.items() if one.compared and one.part == part}
    for part in ("masks", "classes")
)


def _multi(likeliest: list[int], title: str = "multi", classes: int = 3) -> ModelResults:
    return subject(
        "multi", LABELS, probabilities=sure(likeliest, classes=classes), true=TRUE, predicted=HALF, title=title
    )


def _by_metric(pairs: list[Paired]) -> dict[str, Paired]:
    return {pair.metric: pair for pair in pairs}


def test_masks_are_compared_with_the_one_that_is_right_ahead() -> None:
    found = _by_metric(differences([GOOD, _multi(LABELS)]))
    assert set(found) == {"dice", "iou", "dice_all", "fpr_normal"}
    dice = found["dice"]
    assert (dice.a, dice.b, dice.better, dice.images) == ("good", "multi", "good", N - LABELS.count(0))
    halves = [4 - i % 2 for i, label in enumerate(LABELS) if label]
    expected = np.mean([2 * (5 - i % 2) / (15 - i % 2) for i, label in enumerate(LABELS) if label])
    assert halves
    assert dice.difference == pytest.approx(1 - expected)
    assert dice.low < dice.difference < dice.high
    alarms = found["fpr_normal"]
    assert alarms.images == LABELS.count(0)
    assert alarms.difference == pytest.approx(-0.5)
    assert alarms.better == "good"  # less is better


def test_the_interval_is_that_of_the_paired_bootstrap() -> None:
    other = _multi(LABELS)
    dice = _by_metric(differences([GOOD, other]))["dice"]
    a, b = GOOD.tested.evidence, other.tested.evidence
    assert (dice.difference, dice.low, dice.high) == paired_interval("seg", a.scored, b.scored, a.groups, a.labels)


def test_classes_are_compared_with_the_same_classes_alone() -> None:
    right = subject("cls", LABELS, probabilities=sure(LABELS), title="right")
    wrong = _multi([(label + i % 2) % 3 for i, label in enumerate(LABELS)])
    found = _by_metric(differences([right, wrong]))
    assert set(found) == {name for name, metric in METRICS.items() if metric.part == "classes" and metric.compared}
    assert {"auroc", "auroc_malignant", "accuracy", "balanced_accuracy", "f1"} <= set(found)
    assert all(pair.better == "right" for pair in found.values())
    two = subject("cls", LABELS, probabilities=sure([max(label - 1, 0) for label in LABELS], classes=2))
    assert differences([two, wrong]) == []
    assert differences([GOOD, right]) == []


@pytest.mark.slow
def test_the_same_predictions_are_not_told_apart() -> None:
    pairs = differences([_multi(LABELS, "a"), _multi(LABELS, "b")])
    assert len(pairs) == 9
    assert {(pair.difference, pair.better, pair.alike, np.isnan(pair.low)) for pair in pairs} == {(0, None, True, True)}
    assert {(row[2], row[-1]) for row in table(pairs).rows} == {("not told apart", "-")}


def test_a_difference_that_never_varies_is_not_asserted() -> None:
    right, wrong = (subject("seg", LABELS, true=TRUE, predicted=one) for one in (TRUE, [mask(5, 20)] * N))
    assert {(one.better, one.alike) for one in differences([right, wrong])} == {(None, True)}


@pytest.mark.slow
def test_ten_groups_are_asked_of_each_kind_that_a_metric_rests_on() -> None:
    def pairs(labels: list[int]) -> dict[str, Paired]:
        wrong = [(label + (i % 3 == 0)) % 3 for i, label in enumerate(labels)]
        true = [mask(0 if label == 0 else 10) for label in labels]
        said = [mask(i % 2 if label == 0 else 5 + i % 3) for i, label in enumerate(labels)]
        models = [
            subject("multi", labels, probabilities=sure(classes), true=true, predicted=masks, title=title)
            for title, classes, masks in (("a", labels, true), ("b", wrong, said))
        ]
        return _by_metric(differences(models))

    def known(labels: list[int]) -> set[str]:
        return {name for name, pair in pairs(labels).items() if np.isfinite(pair.low)}

    assert known([0] * 12 + [1] * 12 + [2] * 12) == {*MASKS, *CLASS}
    assert known([0] * 12 + [1] * 12 + [2] * 9) == set(MASKS)
    assert known([0] * 9 + [1] * 12 + [2] * 12) == {"dice", "iou", "dice_all", "auroc_malignant"}
    assert known([0] * 12 + [2] * 9) == {"dice_all", "fpr_normal"}


def test_copies_of_a_file_are_paired_one_by_one() -> None:
    digests = [f"{i // 2:064x}" for i in range(N)]
    good, half = (
        subject("seg", LABELS, true=TRUE, predicted=one, digests=digests, title=title)
        for one, title in ((TRUE, "good"), (HALF, "half"))
    )
    expected = _by_metric(differences([GOOD, _multi(LABELS)]))["dice"]
    found = _by_metric(differences([good, half]))["dice"]
    assert (found.images, found.values) == (expected.images, expected.values)


def test_only_images_of_both_count_whatever_their_order() -> None:
    order = list(range(N))[::-1][:30]
    other = subject(
        "seg",
        [LABELS[i] for i in order],
        true=[TRUE[i] for i in order],
        predicted=[HALF[i] for i in order],
        groups=order,
        digests=[f"{i:064x}" for i in order],
        title="other",
    )
    found = _by_metric(differences([GOOD, other]))
    assert found["dice_all"].images == 30
    assert found["dice_all"].values[0] == 1
    strangers = subject("seg", LABELS, true=TRUE, predicted=TRUE, digests=[f"x{i}" for i in range(N)])
    assert differences([GOOD, strangers]) == []


def test_too_few_groups_have_no_interval_and_no_winner() -> None:
    groups = [i % 8 for i in range(N)]
    models = [
        subject("seg", LABELS, true=TRUE, predicted=one, groups=groups, title=name)
        for one, name in ((TRUE, "a"), (HALF, "b"))
    ]
    pairs = differences(models)
    assert pairs
    assert all(np.isnan(pair.low) and pair.better is None for pair in pairs)
    assert all(row[2] == "too few groups" and row[-1] == "-" for row in table(pairs).rows)


@pytest.mark.parametrize("seed", range(3))
def test_fast_metrics_are_those_of_training(seed: int) -> None:
    rng = np.random.default_rng(seed)
    targets = rng.integers(seed > 1, 3, 30)  # once without normals
    chances = rng.dirichlet(np.ones(3), 30)
    expected = classification_scores(chances, targets)
    hidden = np.concatenate([targets, [-1]])
    scored = ScoredPredictions(np.vstack([chances, np.ones((1, 3)) / 3]), hidden, None, np.zeros(31, bool))
    assert {"auroc", "auroc_malignant", "accuracy", "balanced_accuracy", "f1"} <= CLASS.keys() & expected.keys()
    for name, measure in CLASS.items():
        if name not in expected:
            continue  # training does not log it
        assert measure(scored) == pytest.approx(expected[name]), name


def test_the_table_names_the_models_once_and_the_verdict_of_each_row() -> None:
    pairs = [
        Paired("a", "b", "dice", 20, (0.8, 0.7), 0.1, 0.05, 0.15),
        Paired("a", "b", "fpr_normal", 9, (0.3, 0.1), 0.2, 0.1, 0.3),
        Paired("a", "c", "dice", 20, (0.8, 0.8), 0.0, -0.1, 0.1),
    ]
    made = table(pairs)
    assert [row[0] for row in made.rows] == ["a − b", "", "a − c"]
    assert [row[2] for row in made.rows] == ["a is better", "b is better", "not told apart"]
    assert made.rows[0][3:] == [20, "0.800", "0.700", "+0.100", "+0.050 to +0.150"]
    assert made.rules == [2]
