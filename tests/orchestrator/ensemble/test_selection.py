"""The rule of choice on rows that were made up, and the whole comparison on members of known worth."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from orchestrator.ensemble.combiners.fit import CombinerFit, predict
from orchestrator.ensemble.combiners.fits import Fits
from orchestrator.ensemble.combiners.registry import COMBINERS
from orchestrator.ensemble.held_out import OutOfFoldPredictions
from orchestrator.ensemble.result import Difference
from orchestrator.ensemble.selection import CombinerResult, choose, compare, cross_fit
from orchestrator.scoring.values import ScoredPredictions, primary
from tests.support.fits import fit
from tests.support.heldouts import classification, multi, of_members, segmentation

# The rule


def _row(name: str, score: float, apart: float = 0.0) -> CombinerResult:
    """Of a score that varies by .05 with the images, as that of all rows does, and by `apart` of its own."""
    common = np.random.default_rng(99).normal(0, 0.05, 200)
    own = np.random.default_rng(list(COMBINERS).index(name)).normal(size=200)
    return CombinerResult(name, score, 0.05, draws=score + common + apart * own / own.std(ddof=1))


def crossed(name: str, held_out: OutOfFoldPredictions) -> ScoredPredictions:
    found = cross_fit([name], Fits(held_out))[name]
    assert isinstance(found, ScoredPredictions)
    return found


def test_the_reference_stays_while_nothing_is_better_by_more_than_a_standard_error() -> None:
    rows = [_row("best", 0.80), _row("mean", 0.82), _row("greedy", 0.825, 0.01), _row("boosted", 0.829, 0.01)]
    winner, why = choose(rows)
    assert winner == "mean"
    assert why == (
        "mean (0.820) is no worse than best (0.800); "
        "no fitted combiner is better by more than one standard error of the difference"
    )


def test_a_difference_counts_by_its_own_error_and_not_by_that_of_the_scores() -> None:
    """.02 is less than the error of either score, .05, and twice that of their difference."""
    rows = [_row("best", 0.80), _row("mean", 0.82), _row("boosted", 0.84, 0.01)]
    winner, why = choose(rows)
    assert winner == "boosted"
    assert why.endswith("boosted is better by 0.020, more than one standard error (0.010)")
    assert choose([*rows[:2], _row("boosted", 0.84, 0.03)])[0] == "mean"


def test_the_next_one_has_to_beat_the_one_before() -> None:
    simple = [_row("best", 0.80), _row("mean", 0.82)]
    assert choose([*simple, _row("greedy", 0.85, 0.01), _row("boosted", 0.851, 0.01)])[0] == "greedy"
    assert choose([*simple, _row("greedy", 0.85, 0.01), _row("boosted", 0.90, 0.01)])[0] == "boosted"
    # boosted-trained comes last, wherever it stands in the table.
    table = [*simple, _row("boosted-trained", 0.85, 0.01), _row("stacked", 0.851, 0.01)]
    assert choose(table)[0] == "stacked"


def test_on_the_rows_of_the_selection_the_more_flexible_cannot_win() -> None:
    rows = [_row("best", 0.80), _row("mean", 0.82)]
    rows += [_row(name, 0.99) for name in ("greedy", "stacked", "boosted-trained")]
    winner, why = choose(rows, optimistic=True)
    assert winner == "mean"
    assert "optimistic: same fold as selection" in why
    assert choose([*rows, _row("boosted", 0.85, 0.01)], optimistic=True)[0] == "boosted"


def test_as_good_is_best_and_what_could_not_run_is_passed_over() -> None:
    assert choose([_row("best", 0.8), _row("mean", 0.8)])[0] == "best"
    assert (
        choose([CombinerResult("best", note="failed"), _row("mean", 0.7), CombinerResult("greedy", note="failed")])[0]
        == "mean"
    )
    with pytest.raises(ValueError, match="best: no images; mean: none"):
        choose([CombinerResult("best", note="no images"), CombinerResult("mean", note="none"), _row("greedy", 0.9)])


# Cross-fitting


def test_a_row_is_predicted_by_what_was_fitted_on_the_other_folds() -> None:
    held_out = classification(n=120)
    rows = np.flatnonzero(held_out.compared)
    found = crossed("mean", held_out)
    assert found.targets.tolist() == held_out.targets[rows].tolist()
    for fold in (1, 4):
        fitted, _ = fit("mean", held_out.take(np.flatnonzero(held_out.folds != fold)))
        inside = held_out.folds[rows] == fold
        expected = predict(fitted, held_out.take(rows[inside])).probabilities
        np.testing.assert_array_equal(found.probabilities[inside], expected)


@pytest.mark.parametrize("name", ["boosted", "stacked"])
def test_the_truth_of_a_fold_has_no_part_in_its_predictions(name: str) -> None:
    held_out = classification(n=120)
    inside = held_out.folds == 2
    wrong = np.where(inside, 2 - held_out.targets, held_out.targets)
    rows = inside[held_out.compared]
    before, after = (crossed(name, one).probabilities for one in (held_out, replace(held_out, targets=wrong)))
    np.testing.assert_array_equal(before[rows], after[rows])
    assert (before[~rows] != after[~rows]).any()


def test_a_single_fold_cannot_be_compared() -> None:
    held_out = replace(classification(n=30), folds=np.ones(30, np.int64))
    with pytest.raises(ValueError, match="at least two folds"):
        cross_fit(["mean"], Fits(held_out))


# The comparison


def _compared(task: str, held_out: OutOfFoldPredictions) -> dict[str, CombinerResult]:
    return {row.name: row for row in compare(task, Fits(held_out))}


@pytest.mark.slow
@pytest.mark.parametrize("task", ["seg", "cls"])
def test_complementary_experts_are_boosted(task: str) -> None:
    experts = {"seg": segmentation(kind="complementary"), "cls": classification(candidates=6, kind="complementary")}
    rows = _compared(task, experts[task])
    boosted = rows["boosted"]
    for difference in (boosted.difference_to_best, boosted.difference_to_mean):
        assert difference.value > 2 * difference.standard_error > 0
    assert {"member 0", "member 1"} <= set(boosted.members)
    winner, why = choose([rows[name] for name in ("best", "mean", "boosted")])
    assert winner == "boosted"
    assert "boosted is better by" in why
    assert choose(list(rows.values()))[0] not in ("best", "mean")


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 2])
def test_one_good_among_noise_is_best(seed: int) -> None:
    """The others are the good one under noise, the same for all five: they know nothing that it does not."""
    good = classification(seed, n=150)
    noise = np.random.default_rng(seed).normal(0, 4, good.class_logits[0].shape).astype(np.float32)
    logits = np.stack([*[good.class_logits[0] + noise] * 5, good.class_logits[0]])
    rows = _compared("cls", replace(of_members(good, [0] * 6), class_logits=logits))
    assert choose(list(rows.values()))[0] == "best"
    assert rows["best"].members == ("member 5",)
    mean = rows["mean"].difference_to_best
    assert mean.value < -2 * mean.standard_error


@pytest.mark.slow
def test_noise_beside_a_good_one_does_no_harm() -> None:
    """Its temperature takes noise out of the mean, which is then as good as the best."""
    rows = _compared("cls", classification(n=150, kind="one good"))
    winner, _ = choose(list(rows.values()))
    assert rows["best"].members == ("member 1",)
    assert winner in ("best", "mean")
    assert rows[winner].score == pytest.approx(rows["best"].score, abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["seg", "cls"])
def test_nothing_replaces_one_of_identical_members(task: str) -> None:
    held_out = of_members({"seg": segmentation, "cls": classification}[task](), [0, 0, 0])
    rows = _compared(task, held_out)
    assert choose(list(rows.values()))[0] in ("best", "mean")
    for name in ("mean", "greedy", "boosted"):
        assert rows[name].score == pytest.approx(rows["best"].score, abs=1e-3)


def test_differences_and_errors_are_those_of_the_predictions() -> None:
    rows = _compared("cls", classification(skill=0.7))
    mean, best = rows["mean"], rows["best"]
    assert mean.score == primary("cls", mean.scored)
    assert mean.difference_to_best.value == pytest.approx(mean.score - best.score)
    assert mean.difference_to_mean == Difference(0, 0)
    assert 0.005 < mean.standard_error < 0.05
    assert 0 < mean.difference_to_best.standard_error < math.hypot(mean.standard_error, best.standard_error)


def test_there_are_six_rows_with_the_reason_where_one_could_not_run() -> None:
    rows = compare("seg", Fits(segmentation()))
    assert [row.name for row in rows] == list(COMBINERS)
    notes = {row.name: row.note for row in rows if row.score is None}
    assert notes == {
        "boosted-trained": "no member was trained by boosting",
        "stacked": "stacks class probabilities, and this task has none",
    }
    reported = [row.reported(segmentation().names).model_dump(mode="json") for row in rows]
    stored = json.loads(json.dumps(reported, allow_nan=False))
    assert set(stored[0]) == {
        *("name", "score", "standard_error", "difference_to_best", "difference_to_mean"),
        *("fpr_normal", "members", "note", "weights"),
    }
    assert set(stored[1]["difference_to_best"]) == {"value", "standard_error"}
    assert stored[-1]["score"] is None
    assert 0 <= rows[0].fpr_normal <= 1


def test_one_that_fails_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    fit = CombinerFit.fit

    def failing(fitting: CombinerFit, name: str) -> object:
        if name == "greedy":
            raise FloatingPointError("no luck\nat all")
        return fit(fitting, name)

    monkeypatch.setattr(CombinerFit, "fit", failing)
    rows = _compared("cls", classification(n=90))
    assert (rows["greedy"].score, rows["greedy"].note) == (None, "failed: FloatingPointError: no luck")
    assert rows["mean"].score
    assert choose(list(rows.values()))


@pytest.mark.slow
def test_members_of_boosting_can_win() -> None:
    rows = _compared("cls", classification(n=150, trained=1, skill=0.7))
    assert "member 4" in rows["boosted-trained"].members
    assert rows["boosted-trained"].difference_to_best.value > 0
    assert not any("member 4" in rows[name].members for name in ("best", "mean", "greedy", "boosted"))


@pytest.mark.slow
@pytest.mark.parametrize("task", ["seg", "cls", "multi"])
def test_twenty_images_are_enough_to_choose(task: str) -> None:
    held_out = {"seg": segmentation, "cls": classification, "multi": multi}[task](n=20)
    rows = compare(task, Fits(held_out))
    winner, _ = choose(rows)
    ran = {row.name for row in rows if row.score is not None}
    assert winner in ran
    assert {"best", "mean", "greedy", "boosted"} <= ran
    assert all(math.isfinite(row.score) and math.isfinite(row.standard_error) for row in rows if row.name in ran)


@pytest.mark.slow
def test_a_class_may_be_missing_in_a_fold() -> None:
    held_out = classification(n=150)
    missing = held_out.take(np.flatnonzero((held_out.folds != 3) | (held_out.labels != 0)))
    rows = {row.name: row for row in compare("cls", Fits(missing))}
    assert {name for name, row in rows.items() if row.score is not None} == set(COMBINERS) - {"boosted-trained"}
    only_there = held_out.take(np.flatnonzero((held_out.folds == 3) | (held_out.labels != 0)))
    assert {row.name for row in compare("cls", Fits(only_there)) if row.score} == set(COMBINERS) - {"boosted-trained"}


def test_without_a_second_class_every_row_says_so() -> None:
    held_out = classification(n=60)
    alone = held_out.take(np.flatnonzero((held_out.folds == 0) | (held_out.labels == 1)))
    rows = compare("cls", Fits(alone))
    assert all(row.score is None and row.note for row in rows)
    with pytest.raises(ValueError, match="neither best nor mean"):
        choose(rows)
