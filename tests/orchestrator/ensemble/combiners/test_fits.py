"""One set of fits for the rounds, the gain and the comparison: the same figures, and nothing fitted twice."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit, log_expit

from orchestrator.ensemble import boosting
from orchestrator.ensemble.combiners import calibration, fit, functional_boosting
from orchestrator.ensemble.combiners.fits import Fits
from orchestrator.ensemble.combiners.objectives import MaskObjective
from orchestrator.ensemble.combiners.registry import COMBINERS
from orchestrator.ensemble.selection import compare, cross_fit
from tests.support.fits import objectives
from tests.support.heldouts import classification, multi, of_members, segmentation

TASKS = {"seg": segmentation, "cls": classification, "multi": multi}


def test_what_the_rounds_have_found_changes_no_figure_of_the_comparison() -> None:
    more = segmentation(n=40, kind="complementary", trained=1)
    held_out = of_members(more, list(range(more.candidates)))
    fits = Fits(held_out)
    fits.predict(fits.whole().fit("boosted-trained")[0])
    added = Fits(more, earlier=fits)
    boosting.gain("seg", fits, added)
    for one, used in ((held_out, fits), (more, added)):
        for row, alone in zip(compare("seg", used), compare("seg", Fits(one)), strict=True):
            assert (row.score, row.note) == (pytest.approx(alone.score) if alone.score else None, alone.note)
            if row.combination:
                np.testing.assert_allclose(row.combination.masks.weights, alone.combination.masks.weights, atol=1e-6)
                assert row.combination.masks.threshold == alone.combination.masks.threshold


@pytest.mark.parametrize(("task", "name"), [("seg", "boosted-trained"), ("multi", "mean"), ("cls", "greedy")])
def test_a_fold_is_predicted_as_by_a_fit_of_its_own(task: str, name: str) -> None:
    held_out = TASKS[task](n=40, trained=1)
    found = cross_fit([name], Fits(held_out))[name]
    compared = held_out.folds[held_out.compared]
    for fold in np.unique(compared):
        combination, _ = Fits(held_out.take(np.flatnonzero(held_out.folds != fold))).whole().fit(name)
        alone = fit.predict(combination, held_out.take(np.flatnonzero(held_out.compared & (held_out.folds == fold))))
        own = found.take(np.flatnonzero(compared == fold))
        if own.counts is not None:
            np.testing.assert_array_equal(own.counts, alone.counts)
        if own.probabilities is not None:
            np.testing.assert_allclose(own.probabilities, alone.probabilities, atol=1e-9)


def test_no_rounds_are_searched_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four compared folds and all rows: five fits, whatever the rounds and the comparison ask for."""
    more = segmentation(n=40, kind="complementary", trained=1)
    searched, drawn = Counter[int](), Counter[int]()
    by_cv, temperature = functional_boosting.rounds_by_cv, calibration.mask_temperature

    def counted(objective: object, seed: int = 0) -> int:
        searched[0] += 1
        return by_cv(objective, seed)

    def taken(logits: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> float:
        drawn[0] += 1
        return temperature(logits, truth, weights)

    monkeypatch.setattr("orchestrator.ensemble.combiners.weights.rounds_by_cv", counted)
    monkeypatch.setattr("orchestrator.ensemble.combiners.objectives.mask_temperature", taken)
    fits = Fits(of_members(more, list(range(more.candidates))))
    fits.whole().fit("boosted-trained")
    added = Fits(more, earlier=fits)
    boosting.gain("seg", fits, added)
    assert searched[0] == 5
    compare("seg", fits)
    assert searched[0] == 5
    before = drawn[0]
    compare("seg", fits)
    assert drawn[0] == before
    compare("seg", added)
    assert searched[0] == 5
    assert drawn[0] <= 5 * (4 + len(COMBINERS))  # a temperature a member, and one a combination that is unlike others


def test_equal_weights_are_calibrated_and_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    held_out = of_members(segmentation(n=30), [0, 0])
    counted = Counter[str]()
    plain = fit.original_counts
    monkeypatch.setattr(fit, "original_counts", lambda *given: counted.update("x") or plain(*given))
    monkeypatch.setattr("orchestrator.ensemble.combiners.weights.rounds_by_cv", lambda objective, seed: 0)
    fits = Fits(held_out)
    mean, boosted = (fits.whole().fit(name)[0] for name in ("mean", "boosted"))
    assert replace(boosted, name="mean") == mean
    assert counted["x"] == 1


def test_one_compared_fold_is_enough() -> None:
    """Members that lost a race have predictions of few folds."""
    held_out = segmentation(n=40)
    held_out = held_out.take(np.flatnonzero(held_out.folds < 2))
    rows = {row.name: row for row in compare("seg", Fits(held_out))}
    assert all(rows[name].score is not None for name in ("best", "mean", "greedy", "boosted"))


@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
def test_losses_of_masks_are_those_of_the_plain_formula(scale: float) -> None:
    """In float32 as they are kept, along a line, against float64 with a logarithm of its own for either kind."""
    objective = objectives(segmentation(n=20))["masks"]
    assert isinstance(objective, MaskObjective)
    start, direction = objective.logits[0] * np.float32(scale), objective.logits[1] - objective.logits[0]
    logits = (start + direction * np.float32(0.3)).astype(np.float64)
    w, y = objective.weights.astype(np.float64), objective.truth
    entropy = -(w * np.where(y, log_expit(logits), log_expit(-logits))).sum(1) / w.sum(1)
    p = expit(logits)
    dice = 2 * (w * p * y).sum(1) / np.maximum((w * p).sum(1) + (w * y).sum(1), 1e-9)
    expected = entropy + np.where(y.any(1), 1 - dice, 0)
    np.testing.assert_allclose(objective.losses(logits.astype(np.float32)), expected, rtol=1e-6, atol=1e-6)
    assert objective.along(start, direction, 0.3) == pytest.approx(expected.mean(), rel=1e-6)
