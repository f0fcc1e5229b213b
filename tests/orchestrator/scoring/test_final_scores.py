"""Test scores with their intervals, operating points and uncertainty, held to the metrics that they are made of."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax

from orchestrator.ensemble.combiners.fit import predict
from orchestrator.ensemble.held_out import OutOfFoldPredictions
from orchestrator.scoring.final_scores import FinalScores, final_scores
from orchestrator.scoring.measure import Images, Predicted, measure, scores
from orchestrator.scoring.metrics import METRICS
from orchestrator.scoring.operating_points import apply_thresholds, operating_thresholds
from orchestrator.scoring.resampling import Estimate, paired_interval, resample_counts
from orchestrator.scoring.uncertainty import risk_by_coverage, usefulness
from orchestrator.scoring.values import ScoredPredictions
from tests.support.fits import fit
from tests.support.heldouts import classification, multi, segmentation
from trainables.data import CLASSES
from trainables.data.pixels import to_original_size
from trainables.metrics.cls import apply_threshold, classification_scores, operating_point, wilson_interval
from trainables.metrics.multi import MultiMetrics
from trainables.metrics.seg import hd95


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr("orchestrator.scoring.final_scores.INTERVAL", 100)


def _member(held_out: OutOfFoldPredictions, member: int, threshold: float = 0.0) -> Predicted:
    """What one member says, as it is."""
    classes, planes = held_out.class_logits, held_out.planes
    return Predicted(
        None if classes is None else softmax(classes[member].astype(np.float64), axis=1),
        None if planes is None else planes[member].astype(np.float32),
        threshold,
    )


def _images(held_out: OutOfFoldPredictions) -> Images:
    return Images(*(getattr(held_out, field.name) for field in fields(Images)))


def _final(task: str, held_out: OutOfFoldPredictions, **options: object) -> FinalScores:
    uncertainty = np.random.default_rng(0).random(len(held_out))
    return final_scores(task, _member(held_out, 0), _member(held_out, 1), _images(held_out), uncertainty, **options)


# Scores


def test_multi_is_what_training_would_log_at_original_size() -> None:
    held_out = multi(n=70)
    held_out = replace(
        held_out, has_mask=np.arange(70) % 7 > 0, targets=np.where(np.arange(70) % 5, held_out.labels, -1)
    )
    metrics = MultiMetrics(3)
    for row in range(70):
        truth = held_out.originals[row]
        logits = to_original_size(held_out.planes[0, row].astype(np.float32), *truth.shape, keep_aspect=False)
        masks = [torch.from_numpy(array)[None, None] for array in (logits, truth.astype(np.uint8))]
        classes = torch.from_numpy(held_out.class_logits[:1, row])
        known = [torch.tensor([array[row]]) for array in (held_out.has_mask, held_out.targets)]
        metrics.update(masks[0], classes, masks[1], *known)
    expected = metrics.compute()
    found = _final("multi", held_out).scores
    fitted_here = {"sensitivity_at_90_specificity", "specificity_at_95_sensitivity"}
    beside = {"hd95"} | {name for name, metric in METRICS.items() if metric.compared and name not in expected}
    assert set(found) == (set(expected) - fitted_here) | beside
    assert {name: found[name].value for name in set(found) - beside} == pytest.approx(
        {name: value for name, value in expected.items() if name not in fitted_here}, rel=1e-5
    )
    boxes = {"map_box", "map_box50"}
    assert found["fpr_normal"].value == 0  # never varies
    none = boxes | {"ece", "fpr_normal"}
    assert {name for name, score in found.items() if score.interval is None} == none
    for name in set(found) - none:
        assert found[name].interval[0] <= found[name].interval[1]


def test_masks_are_cut_at_the_models_own_threshold() -> None:
    held_out = segmentation(n=12)
    measured = measure(_member(held_out, 0, threshold=1.3), _images(held_out))
    distances = []
    for row in range(12):
        truth = held_out.originals[row]
        logits = to_original_size(held_out.planes[0, row].astype(np.float32), *truth.shape, keep_aspect=False)
        lesion = logits > 1.3
        expected = (lesion & truth).sum(), (lesion & ~truth).sum(), (~lesion & truth).sum()
        assert tuple(measured.scored.counts[row]) == expected
        distances += [hd95(lesion, truth)] if truth.any() else []
    assert scores("seg", measured)["hd95"] == pytest.approx(np.mean(distances))


def test_boxes_are_cut_at_the_threshold_and_scored_by_probability() -> None:
    held_out = multi(n=8)
    one = int(np.flatnonzero(held_out.labels == 2)[0])
    planes = np.where(held_out.truth, -0.5, -4.0).astype(np.float32)
    chances = np.tile([0.1, 0.2, 0.7], (8, 1))
    low = measure(Predicted(chances, planes, threshold=-1.0), _images(held_out))
    found, truth = low.boxes[one]
    assert len(found["boxes"]) == len(truth["boxes"]) == 1
    assert found["labels"].tolist() == truth["labels"].tolist() == [1]
    assert 0.7 * expit(-1.0) < float(found["scores"]) <= 0.7 * expit(-0.5) + 1e-6
    high = measure(Predicted(chances, planes, threshold=0.0), _images(held_out))
    assert not len(high.boxes[one][0]["boxes"])


def test_a_combiner_scores_as_in_its_comparison() -> None:
    held_out = multi(n=30)
    combination, _ = fit("mean", held_out)
    expected = predict(combination, held_out)
    probabilities = combination.probabilities(held_out.class_logits)
    planes = combination.mask_logits(held_out.planes)
    found = measure(Predicted(probabilities, planes, combination.masks.threshold), _images(held_out)).scored
    np.testing.assert_array_equal(found.probabilities, expected.probabilities)
    np.testing.assert_array_equal(found.counts, expected.counts)


def test_the_difference_to_the_best_single_is_paired(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.scoring.final_scores.INTERVAL", 2000)
    held_out = segmentation(n=30)
    found = _final("seg", held_out, seed=3)
    a, b = (measure(_member(held_out, member), _images(held_out)).scored for member in (0, 1))
    expected = paired_interval("seg", a, b, held_out.groups, held_out.labels, seed=3)
    assert (found.difference, *found.difference_interval) == pytest.approx(expected)
    assert found.value == pytest.approx(found.best_single + found.difference)
    assert found.value == pytest.approx(found.scores["dice"].value)
    assert found.interval == pytest.approx(found.scores["dice"].interval)
    assert found.interval[0] < found.value < found.interval[1]


@pytest.mark.parametrize(("task", "primary"), [("seg", "dice"), ("cls", "auroc"), ("multi", "score")])
@pytest.mark.parametrize("count", [12, 20])
def test_everything_is_plain_and_finite_even_on_few_images(task: str, primary: str, count: int) -> None:
    held_out = {"seg": segmentation, "cls": classification, "multi": multi}[task](n=count)
    points = operating_thresholds(measure(_member(held_out, 0), _images(held_out)).scored)
    found = _final(task, held_out, points=points)
    assert found.metric == primary
    assert FinalScores.model_validate(json.loads(json.dumps(found.model_dump(mode="json"), allow_nan=False))) == found
    assert len(found.operating_points) == (0 if task == "seg" else 2)


def test_intervals_are_given_where_every_kind_of_image_is_enough() -> None:
    held_out = multi(n=200)
    held_out.planes[:, np.flatnonzero(held_out.labels == 0)[::2]] = 5  # a false alarm in every second normal
    kinds = [np.flatnonzero(held_out.labels == label) for label in range(3)]
    few = held_out.take(np.concatenate([kinds[0][:20], kinds[1][:20], kinds[2][:9]]))
    found = _final("multi", few)
    scores_of = found.scores
    known = {name for name, score in scores_of.items() if score.interval}
    of_masks = {"dice", "iou", "hd95", "dice_all", "fpr_normal"}
    each = {f"{score}_{name}" for score in ("precision", "recall", "specificity", "f1", "auroc") for name in CLASSES}
    of_malignant = {f"{score}_malignant" for score in ("precision", "recall", "f1", "auroc")}
    assert known == of_masks | each - of_malignant | {"accuracy", "nll", "brier"}
    assert np.isfinite(found.interval).all()  # the primary one's own stays
    pairs = replace(held_out, groups=np.where(held_out.labels == 0, held_out.groups % 9, 9 + held_out.groups))
    names = set(_final("multi", pairs).scores)
    assert {"fpr_normal", "recall_normal", "auroc"} <= names
    known = {name for name, score in _final("multi", pairs).scores.items() if score.interval}
    assert not {"fpr_normal", "recall_normal", "auroc", "specificity", "score"} & known
    assert {"recall_benign", "auroc_malignant", "dice", "miou"} <= known


def test_what_never_varies_has_no_interval() -> None:
    held_out = classification(n=90)
    right = Predicted(np.eye(3)[held_out.labels] * 0.8 + 0.2 / 3, None)
    found = final_scores("cls", right, right, _images(held_out), np.zeros(90))
    assert found.scores["recall_malignant"] == Estimate(value=1.0)
    assert {name for name, one in found.scores.items() if one.interval} == set()
    assert found.interval == (1, 1)


def test_confusion_counts_every_image_and_pixel() -> None:
    held_out = multi(n=20)
    found = _final("multi", replace(held_out, targets=np.where(np.arange(20) == 3, -1, held_out.targets))).confusion
    classes, pixels = np.array(found["classes"]), np.array(found["pixels"])
    assert classes.sum(1).tolist() == np.bincount(np.delete(held_out.labels, 3), minlength=3).tolist()
    right = _member(held_out, 0).probabilities.argmax(1) == held_out.labels
    assert classes.trace() == np.delete(right, 3).sum()
    masks = [held_out.originals[row] for row in range(20)]
    assert pixels.sum(1).tolist() == [sum((~mask).sum() for mask in masks), sum(mask.sum() for mask in masks)]


def test_images_without_what_the_metric_rests_on_are_refused() -> None:
    held_out = segmentation(n=30)
    normals = held_out.take(np.flatnonzero(held_out.labels == 0))
    with pytest.raises(ValueError, match="dice cannot be computed"):
        _final("seg", normals)


# Operating points


def test_thresholds_come_from_held_out_predictions_and_are_applied_to_others() -> None:
    held_out, test = (classification(seed, n=200, skill=0.7) for seed in (0, 1))
    fitted, applied = (measure(_member(one, 0), _images(one)).scored for one in (held_out, test))
    points = apply_thresholds(operating_thresholds(fitted), applied)
    assert [(point.kept, point.rate) for point in points] == [("specificity", 0.9), ("sensitivity", 0.95)]
    malignant = fitted.targets == 2
    for point in points:
        rate = {point.kept: point.rate}
        assert point.threshold == operating_point(fitted.probabilities[:, 2], malignant, **rate)
        expected = apply_threshold(applied.probabilities[:, 2], applied.targets == 2, point.threshold)
        bounds = wilson_interval(expected.true_positives, expected.positives)
        assert point.sensitivity == Estimate(value=expected.sensitivity, interval=bounds)
        assert point.specificity.value == expected.specificity
        assert point.n == 200


def test_images_of_one_kind_have_no_points_to_fit_and_one_rate_to_show() -> None:
    held_out = classification(n=60)
    scored = measure(_member(held_out, 0), _images(held_out)).scored
    points = operating_thresholds(scored)
    others = scored.take(np.flatnonzero(scored.targets < 2))
    assert operating_thresholds(others) == []
    shown = apply_thresholds(points, others)[0]
    assert shown.sensitivity is None
    assert 0 < shown.specificity.value <= 1
    hidden = replace(scored, targets=np.where(scored.targets < 2, -1, 2))
    assert apply_thresholds(points, hidden)[0].n == (scored.targets == 2).sum()


# Uncertainty


def _half_right(count: int = 80) -> tuple[ScoredPredictions, np.ndarray]:
    targets = np.arange(count) % 2
    wrong = np.arange(count) % 4 < 2
    probabilities = np.eye(2)[np.where(wrong, 1 - targets, targets)]
    return ScoredPredictions(probabilities, targets, None, np.zeros(count, bool)), wrong


def test_uncertainty_is_useful_where_errors_have_more_of_it() -> None:
    scored, wrong = _half_right()
    drawn = resample_counts(np.arange(80), scored.targets, 200, seed=0)
    noise = np.random.default_rng(0).random(80)
    found = usefulness(wrong + 0.5 * noise, scored, drawn)
    assert (found.images, found.errors, found.auroc_for_errors, found.useful) == (80, 40, 1, True)
    assert found.risk_coverage[4:6] == ((0.5, 0.0), (0.6, pytest.approx(8 / 48)))
    assert found.risk_coverage_area < 0.2
    for useless in (noise, np.zeros(80), 1 - wrong):
        assert not usefulness(useless, scored, drawn).useful
    assert usefulness(np.zeros(80), scored, drawn).risk_coverage_area == pytest.approx(0.5)


def test_without_errors_nothing_is_said_of_uncertainty() -> None:
    scored, wrong = _half_right()
    right = scored.take(np.flatnonzero(~wrong))
    found = usefulness(np.arange(40.0), right, resample_counts(np.arange(40), right.targets, 20, seed=0))
    assert (found.auroc_for_errors, found.interval, found.useful) == (None, None, False)
    assert (found.errors, found.risk_coverage_area) == (0, 0)


def test_a_single_error_shows_no_use_however_well_it_is_told() -> None:
    scored, wrong = _half_right()
    few = scored.take(np.concatenate([np.flatnonzero(~wrong), np.flatnonzero(wrong)[:1]]))
    found = usefulness(np.arange(41.0), few, resample_counts(np.arange(41), few.targets, 50, seed=0))
    assert (found.errors, found.auroc_for_errors, found.useful) == (1, 1, False)


def test_a_mask_is_wrong_below_half() -> None:
    counts = np.array([[10, 0, 0], [1, 5, 5], [0, 0, 0], [0, 3, 0], [9, 0, 0]])
    scored = ScoredPredictions(None, np.full(5, -1), counts, np.array([True, True, True, True, False]))
    found = usefulness(np.array([0.1, 0.9, 0.2, 0.8, 1.0]), scored, np.ones((1, 5)))
    assert (found.images, found.errors, found.auroc_for_errors) == (4, 2, 1)


def test_risk_by_coverage_has_known_answers() -> None:
    wrong = np.array([True, False, False, True])
    assert risk_by_coverage(np.array([0.9, 0.1, 0.2, 0.8]), wrong).tolist() == [0, 0, pytest.approx(1 / 3), 0.5]
    # As certain ones count as their mean, in whatever order they come.
    for order in ([0, 1, 2, 3], [3, 1, 0, 2]):
        tied = risk_by_coverage(np.array([0.5, 0.1, 0.5, 0.5])[order], wrong[order])
        assert tied.tolist() == pytest.approx([0, 1 / 3, 4 / 9, 0.5])


def test_classification_scores_are_the_basis_of_the_class_scores() -> None:
    held_out = classification(n=90, skill=0.7)
    found = _final("cls", held_out)
    expected = classification_scores(_member(held_out, 0).probabilities, held_out.targets)
    assert found.scores["f1_malignant"].value == expected["f1_malignant"]
    assert found.scores["ece"].value == expected["ece"]
    assert found.value == pytest.approx(expected["auroc"])
