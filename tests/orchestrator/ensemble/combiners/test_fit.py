from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace

import numpy as np
import pytest
from pydantic import TypeAdapter

from orchestrator.ensemble.combiners.fit import predict
from orchestrator.ensemble.combiners.functional_boosting import line_search
from orchestrator.ensemble.combiners.registry import COMBINERS
from orchestrator.ensemble.held_out import OutOfFoldPredictions
from orchestrator.inference.combination import Combination, Head
from orchestrator.scoring.values import ScoredPredictions, primary
from tests.support.fits import fit, objectives
from tests.support.heldouts import Kind, classification, multi, of_members, segmentation

TASKS: dict[str, Callable[..., OutOfFoldPredictions]] = {"seg": segmentation, "cls": classification, "multi": multi}
#: What `stacked` combines are classes.
CASES = [(task, name) for task in TASKS for name in COMBINERS if (task, name) != ("seg", "stacked")]
WEIGHING = [(task, name) for task, name in CASES if name != "stacked"]


def _heads(combination: Combination) -> list[Head]:
    return [head for head in (combination.classes, combination.masks) if head]


def _same(one: ScoredPredictions, other: ScoredPredictions, tolerance: float = 0.0, pixels: int = 0) -> None:
    for left, right, allowed in (
        (one.probabilities, other.probabilities, tolerance),
        (one.counts, other.counts, pixels),
    ):
        assert (left is None) == (right is None)
        if left is not None:
            np.testing.assert_allclose(left, right, rtol=0, atol=allowed)


@pytest.mark.parametrize(("task", "name"), CASES)
def test_predictions_are_whole(task: str, name: str) -> None:
    held_out = TASKS[task](trained=1)
    held_out.targets[3], held_out.has_mask[4] = -1, False
    combination, _ = fit(name, held_out)
    found = predict(combination, held_out)
    assert (found.probabilities is None, found.counts is None) == (task == "seg", task == "cls")
    if found.probabilities is not None:
        np.testing.assert_allclose(found.probabilities.sum(1), 1)
    if found.counts is not None:
        sizes = [held_out.originals[row].sum() * held_out.has_mask[row] for row in range(len(held_out))]
        assert (found.counts[:, 0] + found.counts[:, 2]).tolist() == sizes
    for head in _heads(combination):
        assert min(head.weights) >= 0
        assert sum(head.weights) == pytest.approx(1)
    assert 0.6 < primary(task, found) <= 1


@pytest.mark.parametrize(("task", "name"), CASES)
def test_what_was_stored_predicts_the_same(task: str, name: str) -> None:
    held_out = replace(TASKS[task](trained=1), rebalanced=True)
    combination, note = fit(name, held_out)
    stored = TypeAdapter(Combination).validate_python(json.loads(json.dumps(asdict(combination))))
    assert stored == combination
    _same(predict(stored, held_out), predict(combination, held_out))
    again, same_note = fit(name, held_out)
    assert (again, same_note) == (combination, note)


@pytest.mark.parametrize(("task", "name"), CASES)
def test_the_order_of_the_rows_does_not_matter(task: str, name: str) -> None:
    held_out = TASKS[task](trained=1)
    order = np.random.default_rng(0).permutation(len(held_out))
    one = predict(fit(name, held_out)[0], held_out).take(order)
    _same(predict(fit(name, held_out.take(order))[0], held_out.take(order)), one, 1e-4, 1)


@pytest.mark.parametrize(("task", "name"), WEIGHING)
def test_identical_members_are_one_member(task: str, name: str) -> None:
    held_out = TASKS[task]()
    single, several = of_members(held_out, [1]), of_members(held_out, [1, 1, 1], candidates=2)
    one = predict(fit("best", single)[0], single)
    _same(predict(fit(name, several)[0], several), one, 1e-5, 1)


@pytest.mark.parametrize(("task", "name"), WEIGHING)
def test_the_scale_of_a_candidates_logits_changes_no_weight(task: str, name: str) -> None:
    held_out = TASKS[task](kind="complementary", trained=1)
    scaled = replace(
        held_out,
        class_logits=None if held_out.class_logits is None else held_out.class_logits.copy(),
        planes=None if held_out.planes is None else held_out.planes.astype(np.float32),
    )
    for logits in (scaled.class_logits, scaled.planes):
        if logits is not None:
            logits[0] *= 7
    one, other = fit(name, held_out)[0], fit(name, scaled)[0]
    for before, after in zip(_heads(one), _heads(other), strict=True):
        np.testing.assert_allclose(after.weights, before.weights, atol=1e-5)
        first, *others = before.temperatures
        np.testing.assert_allclose(after.temperatures, [7 * first, *others], rtol=1e-5)
    _same(predict(other, scaled), predict(one, held_out), 1e-5, 1)


@pytest.mark.parametrize("task", TASKS)
def test_without_rounds_boosting_is_the_mean(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    held_out = TASKS[task](kind="complementary")
    monkeypatch.setattr("orchestrator.ensemble.combiners.weights.rounds_by_cv", lambda objective, seed: 0)
    boosted, note = fit("boosted", held_out)
    assert replace(boosted, name="mean") == fit("mean", held_out)[0]
    assert note.startswith("rounds: 0")


@pytest.mark.parametrize(("task", "n"), [("seg", 60), ("cls", 400)])
@pytest.mark.parametrize("seed", range(3))
def test_boosting_complementary_experts_beats_the_best_and_the_mean_on_new_images(task: str, n: int, seed: int) -> None:
    held_out, new = (TASKS[task](start + seed, n, kind="complementary") for start in (0, 100))
    score = {name: primary(task, predict(fit(name, held_out)[0], new)) for name in ("best", "mean", "boosted")}
    assert score["boosted"] > max(score["best"], score["mean"]) + 0.01


@pytest.mark.parametrize(("task", "n"), [("seg", 40), ("cls", 500), ("multi", 60)])
def test_one_good_candidate_among_noise_gets_nearly_all_weight(task: str, n: int) -> None:
    """Noise has a high temperature too: what is left of its weight is of no consequence."""
    held_out = TASKS[task](0, n, kind="one good")
    for name, least in (("best", 1.0), ("greedy", 0.95), ("boosted", 0.6)):
        for head in _heads(fit(name, held_out)[0]):
            parts = np.divide(head.weights, head.temperatures)
            assert head.weights[1] >= least, name
            assert parts[1] >= 0.95 * parts.sum(), name


@pytest.mark.parametrize("task", TASKS)
def test_greedy_is_at_least_as_good_as_the_best_on_what_it_is_fitted_on(task: str) -> None:
    held_out = TASKS[task]()
    for head, objective in objectives(held_out).items():
        score = {
            name: objective.metric(objective.combined(np.array(getattr(fit(name, held_out)[0], head).weights)))
            for name in ("best", "greedy")
        }
        assert score["greedy"] > score["best"] + 0.01


def test_best_is_one_candidate_for_classes_and_masks() -> None:
    """Member 1 has the better masks by less than member 0 has the better classes."""
    held_out = multi(n=80)
    noise = np.random.default_rng(0).normal(size=held_out.class_logits.shape[1:]).astype(np.float32)
    held_out.class_logits[1] = held_out.class_logits[2] = noise
    held_out.planes[0] -= np.float16(1.5)
    masks = objectives(held_out)["masks"]
    assert masks.metric(masks.logits[1]) > masks.metric(masks.logits[0]) + 0.05
    combination, _ = fit("best", held_out)
    assert combination.classes.weights == combination.masks.weights == (1, 0, 0)
    assert combination.members == (0,)


@pytest.mark.parametrize("task", TASKS)
def test_a_trained_member_comes_in_with_half_of_what_would_be_best(task: str) -> None:
    held_out = TASKS[task](trained=1)
    boosted, trained = fit("boosted", held_out)[0], fit("boosted-trained", held_out)[0]
    for head, objective in objectives(held_out).items():
        combined = objective.combined(np.array(getattr(boosted, head).weights))
        step = line_search(objective, combined, objective.logits[-1] - combined)
        assert step > 0.2
        assert getattr(trained, head).weights[-1] == pytest.approx(step / 2)


@pytest.mark.parametrize("task", TASKS)
def test_trained_members_take_from_all_candidates_alike(task: str) -> None:
    held_out = TASKS[task](trained=2)
    boosted, trained = fit("boosted", held_out)[0], fit("boosted-trained", held_out)[0]
    for before, after in zip(_heads(boosted), _heads(trained), strict=True):
        assert before.weights[-2:] == (0, 0)
        first, second = after.weights[-2:]
        candidates = np.array(before.weights[:-2])
        np.testing.assert_allclose(after.weights[:-2], candidates * (1 - first - second), atol=1e-9)
    without = of_members(held_out, list(range(held_out.candidates)))
    assert replace(fit("boosted-trained", without)[0], name="boosted") == fit("boosted", without)[0]


@pytest.mark.parametrize("kind", ["independent", "complementary", "one good"])
@pytest.mark.parametrize(("task", "name"), CASES)
def test_twenty_images_are_enough(task: str, name: str, kind: Kind) -> None:
    held_out = TASKS[task](0, 20, kind=kind)
    found = predict(fit(name, held_out.take(np.flatnonzero(held_out.folds != 1)))[0], held_out)
    assert 0 <= primary(task, found) <= 1


@pytest.mark.parametrize("rebalanced", [False, True])
@pytest.mark.parametrize("absent", [0, 2])
@pytest.mark.parametrize(("task", "name"), CASES)
def test_a_class_may_be_missing_where_a_combiner_is_fitted(task: str, name: str, absent: int, rebalanced: bool) -> None:
    held_out = replace(TASKS[task](n=60), rebalanced=rebalanced)
    there = held_out.take(np.flatnonzero(held_out.labels != absent))
    found = predict(fit(name, there)[0], held_out)
    assert 0.5 < primary(task, found) <= 1
    if found.probabilities is not None:
        assert np.isfinite(found.probabilities).all()


def test_a_bias_is_fitted_only_where_training_balanced_the_classes() -> None:
    held_out = classification(n=2000)
    held_out.class_logits[:] += np.array([2, -1, -1], np.float32)
    plain, _ = fit("mean", held_out)
    biased, _ = fit("mean", replace(held_out, rebalanced=True))
    assert plain.classes.bias == ()
    assert biased.classes.bias[0] < -1
    share = np.bincount(held_out.targets, minlength=3) / len(held_out)
    np.testing.assert_allclose(predict(biased, held_out).probabilities.mean(0), share, atol=0.01)
    assert abs(predict(plain, held_out).probabilities.mean(0) - share).max() > 0.1


def test_masks_get_the_threshold_of_the_largest_dice_all() -> None:
    held_out = segmentation(n=30)
    combination, _ = fit("mean", held_out)

    def dice_all(threshold: float) -> float:
        head = replace(combination.masks, threshold=threshold)
        tp, fp, fn = predict(replace(combination, masks=head), held_out).counts.T
        return float(np.where(tp + fn > 0, 2 * tp / np.maximum(2 * tp + fp + fn, 1), fp == 0).mean())

    found = dice_all(combination.masks.threshold)
    assert found >= max(dice_all(threshold) for threshold in np.arange(-3, 3.1, 0.5))
    assert found > dice_all(3) + 0.01


def test_segmentation_has_no_classes_to_stack() -> None:
    with pytest.raises(ValueError, match="class probabilities"):
        fit("stacked", segmentation(n=5))


def test_the_masks_of_stacked_are_the_means() -> None:
    held_out = multi()
    assert fit("stacked", held_out)[0].masks == fit("mean", held_out)[0].masks
