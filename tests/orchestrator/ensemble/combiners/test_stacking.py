from __future__ import annotations

import json
import warnings
from dataclasses import asdict, replace

import numpy as np
import pytest
from pydantic import TypeAdapter
from scipy.special import softmax
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from orchestrator.common.errors import UserError
from orchestrator.ensemble.combiners import stacking
from orchestrator.ensemble.combiners.stacking import _splits, fit_stack
from orchestrator.ensemble.held_out import OutOfFoldPredictions
from orchestrator.inference.lesion_shape import FEATURES
from orchestrator.inference.stack import FLOOR, Stack, stack_features
from orchestrator.scoring.resampling import grouped_error


def _held_out(
    logits: np.ndarray, targets: np.ndarray, shape: np.ndarray | None = None, groups: np.ndarray | None = None
) -> OutOfFoldPredictions:
    members, count, classes = logits.shape
    return OutOfFoldPredictions(
        names=tuple(f"net{m}" for m in range(members)),
        candidates=members,
        class_logits=logits.astype(np.float32),
        planes=None,
        targets=targets,
        has_mask=np.zeros(count, bool),
        truth=None,
        originals=None,
        keep_aspect=True,
        shape=shape,
        labels=targets + 3 - classes,
        groups=np.arange(count) if groups is None else groups,
        folds=np.arange(count) % 5,
        compared=np.ones(count, bool),
        digests=tuple(f"{row * 7919 % 100_003:08x}" for row in range(count)),
    )


def _drawn(count: int, classes: int = 3, members: int = 2, skill: float = 1.5, seed: int = 0) -> OutOfFoldPredictions:
    rng = np.random.default_rng(seed)
    targets = rng.choice(classes, count)
    logits = rng.normal(size=(members, count, classes)) + skill * np.eye(classes)[targets]
    return _held_out(logits, targets)


def _shape(count: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, len(FEATURES)))


def _hidden_in_shape(count: int = 400, classes: int = 3, seed: int = 0) -> OutOfFoldPredictions:
    """Classes that no linear model of two shape features can tell apart: the sign of their product, and its size."""
    data = _drawn(count, classes, skill=0.0, seed=seed)
    shape = _shape(count, seed + 1)
    product = shape[:, 1] * shape[:, 2]
    return replace(data, shape=shape, targets=(product > 0).astype(np.int64) + (classes == 3) * (product > 1))


def _loss(probabilities: np.ndarray, targets: np.ndarray) -> float:
    return float(-np.log(probabilities[np.arange(len(targets)), targets]).mean())


def _stored(stack: Stack) -> Stack:
    return TypeAdapter(Stack).validate_python(json.loads(json.dumps(asdict(stack))))


@pytest.mark.parametrize("classes", [2, 3])
def test_the_logistic_stack_is_that_of_scikit_learn(classes: int) -> None:
    data, temperatures = _drawn(200, classes), np.array([0.8, 2.0])
    stack, note = fit_stack(data, temperatures)
    strength = min(stacking.STRENGTHS, key=lambda c: abs(c - float(note.split("C ")[1].split(",")[0])))
    logs = np.log(softmax(data.class_logits.astype(float) / temperatures[:, None, None], axis=-1))  # type: ignore[union-attr]
    x = np.moveaxis(logs, 0, 1).reshape(200, -1)
    x = (x - x.mean(0)) / x.std(0)
    expected = LogisticRegression(C=strength, tol=1e-8, max_iter=5000).fit(x, data.targets).predict_proba(x)
    assert stack.probabilities(data.class_logits) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("classes", [2, 3])
def test_json_predicts_what_the_trees_of_scikit_learn_do(classes: int) -> None:
    data = _hidden_in_shape(classes=classes)
    stack, note = fit_stack(data, np.ones(2), seed=3)
    assert stack.trees
    assert note.startswith("trees")
    rows = np.argsort(data.digests)
    features = stack_features(data.class_logits, stack.temperatures, data.shape)[rows]  # type: ignore[arg-type]
    x = (features - features.mean(0)) / features.std(0)
    model = GradientBoostingClassifier(
        n_estimators=len(stack.trees.roots) // (1 if classes == 2 else 3),
        max_depth=2,
        min_samples_leaf=10,
        random_state=3,
    ).fit(x.clip(-5, 5), data.targets[rows])
    new = _hidden_in_shape(classes=classes, seed=9)
    y = (stack_features(new.class_logits, stack.temperatures, new.shape) - features.mean(0)) / features.std(0)  # type: ignore[arg-type]
    expected = model.predict_proba(y.clip(-5, 5))
    assert _stored(stack).probabilities(new.class_logits, new.shape) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("data", [_drawn(120), _hidden_in_shape(), _drawn(60, 2)], ids=["3", "trees", "2"])
def test_what_is_stored_predicts_the_same(data: OutOfFoldPredictions) -> None:
    stack, _ = fit_stack(data, np.ones(2))
    assert _stored(stack) == stack
    again = _stored(stack).probabilities(data.class_logits, data.shape)
    assert np.array_equal(again, stack.probabilities(data.class_logits, data.shape))
    assert again.sum(1) == pytest.approx(1)


def test_trees_are_taken_only_from_300_rows_and_only_where_they_help() -> None:
    assert not fit_stack(_hidden_in_shape(299), np.ones(2))[0].trees
    stack, note = fit_stack(_drawn(320), np.ones(2))
    assert not stack.trees
    assert "trees" in note, "their loss is told"
    known = _hidden_in_shape(320)
    known.targets[:30] = -1
    assert not fit_stack(known, np.ones(2))[0].trees, "rows of unknown class do not count"


def test_good_candidates_weigh_more_than_noise_and_no_candidate_is_left_out() -> None:
    data = _drawn(300, members=3)
    rng = np.random.default_rng(5)
    data.class_logits[1:] = rng.normal(size=(2, 300, 3))  # type: ignore[index]
    stack, _ = fit_stack(data, np.ones(3))
    assert stack.members == (0, 1, 2)
    weights = stack.weights()
    assert weights["log p(malignant) net0"]["malignant"] > 5 * abs(weights["log p(malignant) net1"]["malignant"])
    assert list(weights)[:3] == ["log p(normal) net0", "log p(benign) net0", "log p(malignant) net0"]


@pytest.mark.slow
def test_complementary_candidates_and_shape_beat_each_alone() -> None:
    data, new = _drawn(400, skill=0.8), _drawn(400, skill=0.8, seed=1)
    sign = np.eye(len(FEATURES))[2]
    data, new = (
        replace(one, shape=_shape(400, seed) + 1.5 * sign * (one.targets == 2)[:, None])
        for seed, one in enumerate((data, new))
    )
    both = fit_stack(data, np.ones(2))[0]
    without = fit_stack(replace(data, shape=None), np.ones(2))[0]
    single = fit_stack(_held_out(data.class_logits[:1], data.targets), np.ones(1))[0]  # type: ignore[index]
    losses = [
        _loss(both.probabilities(new.class_logits, new.shape), new.targets),
        _loss(without.probabilities(new.class_logits), new.targets),
        _loss(single.probabilities(new.class_logits), new.targets),
    ]
    assert losses == sorted(losses)
    assert losses[0] < losses[1] - 0.03 < losses[2] - 0.06
    assert both.weights()["aspect"]["malignant"] > 0.3
    assert (both.uses_shape, without.uses_shape) == (True, False)


def test_pure_noise_costs_little_more_than_the_share_of_each_class() -> None:
    data, new = (
        replace(_drawn(250, skill=0.0, seed=seed), targets=np.where(np.arange(250) % 5, 1, 2)) for seed in (0, 1)
    )
    found = fit_stack(data, np.ones(2))[0].probabilities(new.class_logits)
    assert found.mean(0) == pytest.approx([0, 0.8, 0.2], abs=0.03)
    assert _loss(found, new.targets) < -0.8 * np.log(0.8) - 0.2 * np.log(0.2) + 0.05


@pytest.mark.slow
def test_the_order_of_the_rows_does_not_matter() -> None:
    data = replace(_drawn(330), shape=_shape(330), groups=np.arange(330) // 2)
    mixed = data.take(np.random.default_rng(3).permutation(330))
    assert fit_stack(data, np.ones(2)) == fit_stack(mixed, np.ones(2))


def test_scaled_logits_with_their_temperature_change_nothing() -> None:
    data = _drawn(150)
    scaled = replace(data, class_logits=data.class_logits * np.float32(4))  # type: ignore[operator]
    first, second = fit_stack(data, np.ones(2))[0], fit_stack(scaled, np.full(2, 4.0))[0]
    assert second.probabilities(scaled.class_logits) == pytest.approx(first.probabilities(data.class_logits), abs=1e-6)


def test_boosted_members_and_a_shape_it_was_not_fitted_on_are_not_looked_at() -> None:
    data = replace(_drawn(100, members=3), candidates=2)
    stack, _ = fit_stack(data, np.ones(3))
    assert stack.members == (0, 1)
    expected = stack.probabilities(data.class_logits[:2])  # type: ignore[index]
    assert np.array_equal(stack.probabilities(data.class_logits, _shape(100)), expected)


def test_an_unknown_shape_counts_as_the_mean_and_a_missing_one_is_refused() -> None:
    shape = _shape(100)
    shape[::4, 1:] = np.nan
    shape[:, 0] = np.arange(100) % 4 > 0
    data = replace(_drawn(100), shape=shape)
    stack, _ = fit_stack(data, np.ones(2))
    known = np.nan_to_num(shape, nan=0.0) + np.isnan(shape) * np.nanmean(shape, axis=0)
    expected = stack.probabilities(data.class_logits, known)
    assert stack.probabilities(data.class_logits, shape) == pytest.approx(expected)
    assert np.isfinite(expected).all()
    for wrong in (None, shape[:, :3]):
        with pytest.raises(ValueError, match=r"fitted on lesion shape: pass 8 columns .*solidity") as error:
            stack.probabilities(data.class_logits, wrong)
        assert "\n" not in str(error.value)
    nowhere = replace(data, shape=np.full((100, len(FEATURES)), np.nan))
    assert np.isfinite(fit_stack(nowhere, np.ones(2))[0].probabilities(data.class_logits, shape)).all()


def test_an_outline_out_of_all_proportion_does_not_decide_alone() -> None:
    data = replace(_drawn(200, skill=3.0), shape=_shape(200))
    stack, _ = fit_stack(data, np.ones(2))
    odd = np.full((200, len(FEATURES)), 1e6)
    agreed = stack.probabilities(data.class_logits, odd).argmax(1) == data.targets
    assert agreed.mean() > 0.85


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_class_without_rows_is_improbable_and_not_impossible(missing: int) -> None:
    data = _drawn(330)
    data = data.take(np.flatnonzero(data.targets != missing))
    stack, _ = fit_stack(data, np.ones(2))
    found = stack.probabilities(data.class_logits)
    assert found.shape == (len(data), 3)
    assert found[:, missing] == pytest.approx(FLOOR, rel=1e-3)
    assert _loss(np.roll(found, 1, axis=1), data.targets) < 15
    assert all(len(weights) == 2 for weights in stack.weights().values())


def test_one_class_alone_and_one_row_alone() -> None:
    for count in (1, 30, 310):
        data = replace(_drawn(count), targets=np.ones(count, np.int64))
        stack, _ = fit_stack(data, np.ones(2))
        assert _stored(stack).probabilities(data.class_logits)[:, 1] == pytest.approx(1, abs=1e-5)
        assert set(stack.weights()["log p(benign) net0"].values()) == {0.0}


def test_a_class_of_one_row_is_fitted_without_a_warning() -> None:
    data = _drawn(20)
    data.targets[:] = np.arange(20) % 2
    data.targets[7] = 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stack, _ = fit_stack(data, np.ones(2))
    assert np.isfinite(np.log(stack.probabilities(data.class_logits))).all()


def test_folds_keep_groups_together_and_score_every_row_once() -> None:
    rng = np.random.default_rng(0)
    groups, targets = rng.choice(30, 90), rng.choice(3, 90)
    folds = _splits(targets, groups, 0)
    assert len(folds) == 5
    assert sorted(np.concatenate([score for _, score in folds]).tolist()) == list(range(90))
    for fit, score in folds:
        assert not set(groups[fit]) & set(groups[score])
    assert _splits(targets, np.zeros(90, np.int64), 0) == []


def test_the_standard_error_counts_groups() -> None:
    values = np.random.default_rng(0).normal(size=200)
    alone = grouped_error(values, np.arange(200))
    assert alone == pytest.approx(values.std(ddof=1) / np.sqrt(200))
    doubled = grouped_error(np.repeat(values, 2), np.repeat(np.arange(200), 2))
    assert doubled == pytest.approx(alone)
    assert grouped_error(values, np.zeros(200, np.int64)) == np.inf


def test_without_class_predictions_or_known_classes_it_says_so() -> None:
    data = _drawn(10)
    with pytest.raises(UserError, match="predict no classes"):
        fit_stack(replace(data, class_logits=None), np.ones(2))
    with pytest.raises(UserError, match="no held-out image has a known class"):
        fit_stack(replace(data, targets=np.full(10, -1)), np.ones(2))
