from __future__ import annotations

import numpy as np
import pytest

from orchestrator.ensemble.combiners.functional_boosting import ROUNDS, boost, line_search, rounds_by_cv
from orchestrator.ensemble.combiners.objectives import Objective
from orchestrator.ensemble.held_out import OutOfFoldPredictions
from orchestrator.scoring.resampling import inner_folds
from tests.support.fits import objectives
from tests.support.heldouts import Kind, classification, of_members, segmentation

MAKERS = {"classes": classification, "masks": segmentation}
IMAGES = {"classes": 500, "masks": 40}


def _objective(held_out: OutOfFoldPredictions) -> Objective:
    (found,) = objectives(held_out).values()
    return found


@pytest.mark.parametrize("kind", ["independent", "complementary", "one good"])
@pytest.mark.parametrize("head", MAKERS)
def test_weights_stay_convex_and_start_at_the_mean(head: str, kind: Kind) -> None:
    objective = _objective(MAKERS[head](kind=kind))
    path = boost(objective)
    assert path.shape == (ROUNDS + 1, len(objective.logits))
    assert (path[0] == 1 / len(objective.logits)).all()
    assert (path >= 0).all()
    np.testing.assert_allclose(path.sum(1), 1)
    np.testing.assert_array_equal(boost(objective, 5), path[:6])


@pytest.mark.parametrize("head", MAKERS)
def test_boosting_lowers_the_loss_that_it_is_fitted_on(head: str) -> None:
    objective = _objective(MAKERS[head](kind="complementary"))
    losses = [objective.losses(objective.combined(weights)).mean() for weights in boost(objective)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.98 * losses[0]
    assert losses[-1] < min(objective.losses(one).mean() for one in objective.logits)


def test_the_first_round_moves_towards_the_candidate_that_the_gradient_points_to() -> None:
    objective = _objective(classification(kind="complementary"))
    first = boost(objective, 1)[1]
    mean = objective.combined(np.full(4, 0.25))
    losses = [objective.losses(mean + 1e-4 * (one - mean)).mean() for one in objective.logits]
    assert first.argmax() == np.argmin(losses) == 0
    step = line_search(objective, mean, objective.logits[0] - mean)
    np.testing.assert_allclose(first, (1 - 0.3 * step) / 4 + 0.3 * step * np.eye(4)[0])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("head", MAKERS)
def test_a_line_search_never_raises_the_loss(head: str, seed: int) -> None:
    objective = _objective(MAKERS[head](seed, 30))
    start = objective.logits[0]
    for direction in (objective.logits[1] - start, -start, start * 0):
        step = line_search(objective, start, direction)
        assert 0 <= step <= 1
        assert objective.losses(start + step * direction).mean() <= objective.losses(start).mean()


def test_a_line_search_finds_the_least_loss() -> None:
    objective = _objective(classification())
    start, direction = objective.logits[0], objective.logits[1] - objective.logits[0]
    steps = np.linspace(0, 1, 1001)
    expected = steps[np.argmin([objective.losses(start + step * direction).mean() for step in steps])]
    assert line_search(objective, start, direction) == pytest.approx(expected, abs=0.02)
    assert line_search(objective, start, -start) == 0  # calibrated logits are worth more than none


@pytest.mark.parametrize("head", MAKERS)
def test_there_is_nothing_to_boost_among_identical_members(head: str) -> None:
    objective = _objective(of_members(MAKERS[head](), [1, 1, 1]))
    assert (boost(objective) == 1 / 3).all()
    assert rounds_by_cv(objective) == 0


@pytest.mark.parametrize("head", MAKERS)
def test_rounds_are_as_many_as_held_out_groups_are_worth(head: str) -> None:
    found = {
        kind: np.mean([rounds_by_cv(_objective(MAKERS[head](seed, IMAGES[head], kind=kind))) for seed in range(8)])
        for kind in ("complementary", "independent")
    }
    assert found["complementary"] > 4
    assert found["independent"] < 2


@pytest.mark.parametrize("n", [1, 2, 20])
def test_few_images_are_enough(n: int) -> None:
    objective = _objective(classification()).take(np.arange(n))
    assert 0 <= rounds_by_cv(objective) <= ROUNDS


def test_inner_folds_keep_groups_together_and_classes_apart() -> None:
    held_out = classification(n=300)
    folds = inner_folds(held_out.groups, held_out.labels)
    assert all(len(set(folds[held_out.groups == group])) == 1 for group in set(held_out.groups))
    # Of each class (a group's is its commonest) every fold has as many groups as the others, give or take one.
    groups = np.unique(held_out.groups)
    classes = np.array([np.bincount(held_out.labels[held_out.groups == group]).argmax() for group in groups])
    where = np.array([folds[held_out.groups == group][0] for group in groups])
    for label in range(3):
        counts = np.bincount(where[classes == label], minlength=5)
        assert counts.max() - counts.min() <= 1
    order = np.random.default_rng(0).permutation(300)
    np.testing.assert_array_equal(inner_folds(held_out.groups[order], held_out.labels[order]), folds[order])
    assert (inner_folds(held_out.groups, held_out.labels, seed=1) != folds).any()
    assert sorted(inner_folds(np.array([4, 4, 9]), np.array([0, 0, 0]))) in ([0, 0, 1], [0, 1, 1])
