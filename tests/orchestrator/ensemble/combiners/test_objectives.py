from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from orchestrator.ensemble.combiners.objectives import PIXELS, ClassObjective, MaskObjective, Objective, sample_pixels
from tests.support.fits import fit, objectives
from tests.support.heldouts import multi, of_members, segmentation


def _classes(n: int = 7) -> ClassObjective:
    rng = np.random.default_rng(0)
    return ClassObjective(rng.normal(size=(2, n, 3)), np.arange(n), np.arange(n) % 3, np.arange(n) % 3)


def _masks(n: int = 11, pixels: int = 20) -> MaskObjective:
    """Every third image has no lesion, and no two pixels stand for as many."""
    rng = np.random.default_rng(1)
    truth = (rng.random((n, pixels)) < 0.3) & (np.arange(n) % 3 > 0)[:, None]
    logits = rng.normal(0, 3, (2, n, pixels))
    return MaskObjective(logits, np.arange(n), np.arange(n) % 3, truth, rng.uniform(0.2, 5, (n, pixels)))


@pytest.mark.parametrize("objective", [_classes(), _masks()], ids=["classes", "masks"])
def test_the_residual_is_what_finite_differences_say(objective: Objective) -> None:
    logits, step = objective.logits[0], 1e-5
    expected = np.empty_like(logits)
    for at in np.ndindex(*logits.shape):
        change = np.zeros_like(logits)
        change[at] = step
        rise = objective.losses(logits + change).mean() - objective.losses(logits - change).mean()
        expected[at] = -rise / (2 * step)
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(objective.residual(logits), expected, atol=1e-9)


def test_the_mask_loss_is_that_of_its_definition() -> None:
    objective = _masks()
    logits, w, y = objective.logits[1], objective.weights, objective.truth
    p = 1 / (1 + np.exp(-logits))
    entropy = -(w * np.where(y, np.log(p), np.log(1 - p))).sum(1) / w.sum(1)
    dice = 2 * (w * p * y).sum(1) / ((w * p).sum(1) + (w * y).sum(1))
    np.testing.assert_allclose(objective.losses(logits), entropy + np.where(y.any(1), 1 - dice, 0))


@pytest.mark.parametrize("sign", [-1, 1])
def test_huge_logits_lose_what_they_are_worth(sign: int) -> None:
    truth = np.array([[True, False], [False, False]])
    right = np.where(truth, 1e4, -1e4).astype(np.float32)
    objective = MaskObjective(right[None], np.arange(2), np.arange(2), truth, np.ones((2, 2), np.float32))
    assert objective.losses(sign * right).tolist() == ([0, 0] if sign > 0 else [1e4 + 1, 1e4])
    assert np.isfinite(objective.residual(sign * right)).all()


def test_metrics_are_the_tasks() -> None:
    objective = _masks()
    predicted = objective.logits[0] > 0
    w, y = objective.weights, objective.truth
    dice = 2 * (w * (predicted & y)).sum(1) / ((w * predicted).sum(1) + (w * y).sum(1))
    assert objective.metric(objective.logits[0]) == pytest.approx(dice[y.any(1)].mean())
    assert np.isnan(objective.take(np.array([0, 3])).metric(objective.logits[0][[0, 3]]))
    classes = _classes()
    assert classes.metric(np.eye(3)[classes.targets]) == 1
    assert classes.metric(np.zeros((7, 3))) == 0.5


def test_rows_are_those_asked_for() -> None:
    for objective in (_classes(), _masks()):
        rows = np.array([5, 0, 4])
        combined = objective.combined(np.array([0.5, 0.5]))
        taken = objective.take(rows)
        np.testing.assert_allclose(taken.losses(combined[rows]), objective.losses(combined)[rows])
        np.testing.assert_array_equal(taken.combined(np.array([0.5, 0.5])), combined[rows])
        np.testing.assert_array_equal(taken.groups, rows)


def test_images_of_unknown_truth_do_not_count() -> None:
    held_out = multi(n=20)
    held_out.targets[3], held_out.has_mask[5] = -1, False
    found, combination = objectives(held_out), fit("mean", held_out)
    assert [len(one.labels) for one in found.values()] == [19, 19]
    held_out.class_logits[:, 3], held_out.planes[:, 5] = 99, 99
    assert fit("mean", held_out)[0].classes == combination[0].classes
    held_out.has_mask[:] = False
    with pytest.raises(ValueError, match="no held-out image has a known mask"):
        fit("mean", held_out)
    held_out.targets[:] = -1
    with pytest.raises(ValueError, match="no held-out image has a known class"):
        fit("mean", held_out)


def test_all_pixels_are_taken_where_there_are_few() -> None:
    held_out = segmentation(n=5)
    logits, truth, weights = sample_pixels(held_out.planes, held_out.truth, held_out.digests, 0)
    np.testing.assert_array_equal(logits, held_out.planes.reshape(3, 5, -1))
    np.testing.assert_array_equal(truth, held_out.truth.reshape(5, -1))
    assert (weights == 1).all()


@pytest.mark.parametrize(("differing", "drawn"), [(20, 20), (150, 50), (390, 90)])
def test_half_of_the_pixels_are_those_where_candidates_differ(differing: int, drawn: int) -> None:
    """Of 400 pixels 100 are drawn: all that differ where they are few, half, or what the others leave to be filled."""
    planes = np.full((2, 1, 20, 20), -1.0, np.float16)
    planes[1].reshape(-1)[:differing] = 1
    logits, _, weights = sample_pixels(planes, np.zeros((1, 20, 20)), ["aa"], 0, count=100)
    differs = logits[0, 0] != logits[1, 0]
    assert (logits.shape, differs.sum()) == ((2, 1, 100), drawn)
    assert weights[0][differs].sum() == pytest.approx(differing)
    assert weights[0][~differs].sum() == pytest.approx(400 - differing)


def test_weights_give_back_what_all_pixels_say() -> None:
    """Lesion area, from a quarter of the pixels of 200 images, is that of all pixels."""
    held_out = segmentation(n=200)
    _, truth, weights = sample_pixels(held_out.planes, held_out.truth, held_out.digests, 0, count=144)
    assert (weights * truth).sum() == pytest.approx(held_out.truth.sum(), rel=0.02)
    np.testing.assert_allclose(weights.sum(1), 24 * 24, rtol=1e-5)


def test_the_loss_of_drawn_pixels_is_that_of_all_of_them() -> None:
    """Planes of 96 pixels, of which fewer than half are drawn, more of them where candidates differ."""
    held_out = segmentation(n=60)
    large = replace(held_out, planes=_enlarged(held_out.planes), truth=_enlarged(held_out.truth))
    every, some = objectives(held_out)["masks"], objectives(large)["masks"]
    assert some.logits.shape == (3, 60, PIXELS)
    assert some.weights.std() > 0.3
    for weights in np.eye(3):
        one, other = (objective.losses(objective.combined(weights)).mean() for objective in (every, some))
        assert other == pytest.approx(one, rel=0.01)


def test_members_that_boosting_trained_have_no_part_in_which_pixels_are_drawn() -> None:
    held_out = segmentation(n=6, trained=1)
    large = replace(held_out, planes=_enlarged(held_out.planes), truth=_enlarged(held_out.truth))
    without = of_members(large, [0, 1, 2])
    np.testing.assert_array_equal(objectives(large)["masks"].logits[:3], objectives(without)["masks"].logits)


def _enlarged(planes: np.ndarray) -> np.ndarray:
    return planes.repeat(4, axis=-1).repeat(4, axis=-2)


def test_an_image_has_the_same_pixels_whatever_stands_beside_it() -> None:
    held_out = segmentation(n=12)
    rows = np.array([7, 2, 9])
    other = held_out.take(rows)
    one = sample_pixels(held_out.planes, held_out.truth, held_out.digests, 0, count=100)
    two = sample_pixels(other.planes * np.float16(4), other.truth, other.digests, 0, count=100)
    np.testing.assert_array_equal(one[0][:, rows] * 4, two[0])
    np.testing.assert_array_equal(one[1][rows], two[1])
    third = sample_pixels(other.planes, other.truth, other.digests, 1, count=100)
    assert (third[0] * 4 != two[0]).any()
