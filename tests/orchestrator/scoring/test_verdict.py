"""Models built to fail get their word; good ones theirs; too few images are said to be."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.scoring import trivial
from orchestrator.scoring.operating_points import operating_thresholds
from orchestrator.scoring.packed_masks import PackedMasks
from orchestrator.scoring.values import ScoredPredictions
from orchestrator.scoring.verdict import Judgement, Verdict, judge

SIDE = 24


def lesions(images: int = 120, seed: int = 0) -> list[np.ndarray]:
    """A lesion near the centre in three of four images, at most a fifth of the pixels."""
    rng = np.random.default_rng(seed)
    masks = []
    for number in range(images):
        mask = np.zeros((SIDE, SIDE), bool)
        if number % 4:
            y, x = rng.integers(4, 12, 2)
            h, w = rng.integers(4, 10, 2)
            mask[y : y + h, x : x + w] = True
        masks.append(mask)
    return masks


def judged_masks(said: list[np.ndarray], truth: list[np.ndarray], groups: np.ndarray | None = None) -> Judgement:
    counts = [[(a & b).sum(), (a & ~b).sum(), (~a & b).sum()] for a, b in zip(said, truth, strict=True)]
    scored = ScoredPredictions(None, np.full(len(truth), -1), np.array(counts), np.ones(len(truth), bool))
    rows = np.arange(len(truth))
    dice = trivial.trivial_dice(np.stack(lesions(200, 9)).astype(np.uint8), PackedMasks(truth), rows, keep_aspect=False)
    groups = rows if groups is None else groups
    return judge(scored, groups, np.array([m.any() for m in truth], np.int64), trivial.best_of(dice))


def test_masks_by_models_that_see_nothing_everything_or_noise_are_not_usable() -> None:
    truth = lesions()
    rng = np.random.default_rng(1)
    nothing, everything = [np.zeros_like(m) for m in truth], [np.ones_like(m) for m in truth]
    for said in (nothing, everything, [rng.random(m.shape) < 0.3 for m in truth]):
        found = judged_masks(said, truth)
        assert found.word == "not usable"
    assert judged_masks(nothing, truth).because.endswith("0 of 90 lesions are found, fewer than half")


def test_the_mean_training_mask_is_no_model() -> None:
    truth = lesions()
    mean = trivial.mean_mask(np.stack(lesions(200, 9)).astype(np.uint8))
    assert mean is not None
    found = judged_masks([mean > 0.5] * len(truth), truth)
    assert found.word == "not usable"
    assert "of the mean training mask, without any network" in found.because
    assert found.checks[1].side == "for", "it finds nearly all of them"


def test_good_masks_are_usable_and_those_that_miss_many_or_cry_wolf_are_weak() -> None:
    truth = lesions()
    good = [mask.copy() for mask in truth]
    assert judged_masks(good, truth).word == "usable for research"
    missed = [np.zeros_like(mask) if number % 12 in (1, 2, 3) else mask for number, mask in enumerate(truth)]
    found = judged_masks(missed, truth)
    assert (found.word, found.because) == ("weak", "60 of 90 lesions are found, fewer than 80%")
    wolf = [mask if mask.any() else np.eye(SIDE, dtype=bool) for mask in truth]
    found = judged_masks(wolf, truth)
    assert (found.word, found.because) == ("weak", "something is seen in 30 of 30 normal images")


def test_what_too_few_groups_cannot_tell() -> None:
    truth = lesions(24)
    assert judged_masks(truth, truth, np.arange(24) // 3).word == "cannot be told", "8 patients"
    nothing = [np.zeros_like(mask) for mask in truth]
    assert judged_masks(nothing, truth, np.arange(24) // 3).word == "not usable", "what fails needs no interval"


def judged_classes(probabilities: np.ndarray, targets: np.ndarray) -> Judgement:
    scored = ScoredPredictions(probabilities, targets, None, np.zeros(len(targets), bool))
    return judge(scored, np.arange(len(targets)), targets, None, operating_thresholds(scored))


def classes(skill: float, images: int = 240, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    targets = np.arange(images) % 3
    logits = skill * np.eye(3)[targets] + rng.normal(size=(images, 3))
    exp = np.exp(logits)
    return exp / exp.sum(1, keepdims=True), targets


def test_classes_by_models_that_guess_or_name_one_class_are_not_usable() -> None:
    guessed, targets = classes(0.0)
    assert judged_classes(guessed, targets).word == "not usable"
    assert judged_classes(np.full((240, 3), 1 / 3), targets).word == "not usable"
    good, _ = classes(3.0)
    one = good * np.array([0.05, 1.0, 0.05]) + np.array([0, 10, 0])  # ranks are good, the answer is always the same
    found = judged_classes(one / one.sum(1, keepdims=True), targets)
    assert found.word == "not usable"
    assert "none of 80 malignant images is called malignant" in found.because
    turned = judged_classes(good[:, ::-1], targets)
    assert turned.word == "not usable"


@pytest.mark.parametrize(("skill", "word"), [(0.8, "weak"), (3.0, "usable for research")])
def test_classes_by_models_of_some_skill(skill: float, word: str) -> None:
    found = judged_classes(*classes(skill))
    assert found.word == word
    if word == "weak":
        assert "at 90% specificity" in found.because


def test_the_test_lowers_a_verdict_and_never_raises_it() -> None:
    words = ("not usable", "cannot be told", "weak", "usable for research")
    made = {word: Judgement(word=word, checks=()) for word in words}  # type: ignore[arg-type]
    expected = {
        ("weak", "usable for research"): "weak",
        ("usable for research", "weak"): "weak",
        ("usable for research", "not usable"): "not usable",
        ("usable for research", "cannot be told"): "usable for research",
        ("cannot be told", "usable for research"): "cannot be told",
        ("cannot be told", "not usable"): "not usable",
    }
    for (held, test), word in expected.items():
        assert Verdict.of(made[held], made[test]).word == word
    assert Verdict.of(made["weak"], None).clears_the_floor
    assert not Verdict.of(made["cannot be told"], None).clears_the_floor
