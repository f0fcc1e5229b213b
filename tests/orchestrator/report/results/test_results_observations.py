"""Sentences about models: said where the figures carry them, and not where they do not."""

from __future__ import annotations

from typing import Any

import numpy as np

from orchestrator.rendering.document import Observation
from orchestrator.report.results.observations import strengths_and_limits
from orchestrator.report.results.paired import Paired
from orchestrator.scoring.operating_points import OperatingPoint
from tests.support.subjects import mask, subject, sure, with_columns

N = 90
LABELS = [i % 3 for i in range(N)]
RIGHT = sure(LABELS)


def _cls(**fields: Any) -> Any:
    return subject("cls", LABELS, **{"probabilities": RIGHT, **fields})


def _said(found: list[Observation], words: str) -> Observation:
    (one,) = [observation for observation in found if words in observation.claim]
    return one


def _claims(found: list[Observation]) -> str:
    return "\n".join(observation.claim for observation in found)


def test_better_is_said_where_the_interval_excludes_zero_and_not_elsewhere() -> None:
    pairs = [
        Paired("a", "b", "dice", 50, (0.8, 0.7), 0.1, 0.05, 0.15),
        Paired("a", "b", "fpr_normal", 20, (0.3, 0.1), 0.2, 0.1, 0.3),
        Paired("a", "b", "iou", 50, (0.7, 0.6), 0.1, -0.01, 0.2),
        Paired("c", "d", "dice", 5, (0.7, 0.6), 0.1, np.nan, np.nan),
    ]
    found = strengths_and_limits([], pairs)
    assert [one.claim for one in found] == [
        "a is better than b: Dice of lesions.",
        "b is better than a: share of normals with a false alarm.",
        "a and b are not told apart: IoU of lesions.",
        "There are too few images to compare c and d: Dice of lesions.",
    ]
    assert "+0.100 (95 % +0.050 to +0.150; n = 50)" in found[0].evidence
    assert "lower is better" in found[1].evidence


def test_false_alarms_are_counted() -> None:
    true = [mask(0 if label == 0 else 9) for label in LABELS]
    alarms = [mask(i % 2 if label == 0 else 9) for i, label in enumerate(LABELS)]
    found = strengths_and_limits([subject("seg", LABELS, true=true, predicted=alarms)], [])
    said = _said(found, "seg: a lesion is seen in 50 % of the images that have none")
    assert said.evidence.startswith("15 of 30 images without a lesion, share 0.500 (")
    found = strengths_and_limits([subject("seg", LABELS, true=true, predicted=true)], [])
    assert _said(found, "no lesion is seen").evidence == "0 of 30 images without a lesion, share 0.000."


def test_the_class_that_is_missed_most_is_named_with_what_it_is_taken_for() -> None:
    likeliest = [1 if label == 2 and i % 2 else label for i, label in enumerate(LABELS)]
    said = _said(strengths_and_limits([_cls(probabilities=sure(likeliest))], []), "lowest recall")
    assert said.claim.startswith("cls: malignant is")
    assert "n = 30 malignant, 0 called normal, 15 called benign" in said.evidence
    assert "lowest recall" not in _claims(strengths_and_limits([_cls()], []))  # all alike


def test_probabilities_that_do_not_hold_are_said() -> None:
    half = [(label + i // 3 % 2) % 3 for i, label in enumerate(LABELS)]
    bold, modest = (_cls(probabilities=sure(half, chance)) for chance in (0.95, 0.5))
    assert "its probabilities are higher than" in _claims(strengths_and_limits([bold], []))
    assert "neither over-confidence nor under-confidence" in _claims(strengths_and_limits([modest], []))
    shy = _cls(probabilities=np.vstack([sure([label], 0.5 + i / 900) for i, label in enumerate(LABELS)]))
    assert "its probabilities are lower than" in _claims(strengths_and_limits([shy], []))


def test_small_lesions_are_worse_only_where_that_is_so() -> None:
    sizes = [20 + i for i in range(N)]
    true = [mask(size) for size in sizes]
    rng = np.random.default_rng(0)
    shares = {"worse": np.where(np.arange(N) < 30, 0.4, 0.9), "same": np.full(N, 0.7)}
    claims = {}
    for name, share in shares.items():
        noisy = (share + rng.uniform(-0.1, 0.1, N)) * sizes
        made = subject("seg", [1] * N, true=true, predicted=[mask(round(hit)) for hit in noisy])
        claims[name] = _claims(strengths_and_limits([made], []))
    assert "seg: Dice is lower for the smallest third of the lesions than for the largest third." in claims["worse"]
    assert "third" not in claims["same"]


def test_subgroups_are_told_with_the_number_of_comparisons() -> None:
    bad = [i % 2 == 0 for i in range(N)]
    likeliest = [
        (label + (is_bad and i % 4 == 0)) % 3 for i, (label, is_bad) in enumerate(zip(LABELS, bad, strict=True))
    ]
    likeliest[1] = 2  # one error in the other half: an interval needs some of each
    source = ["old scanner" if is_bad else "new" for is_bad in bad]
    images = with_columns(N, {"scanner": source, "side": ["left" if i // 4 % 2 else "right" for i in range(N)]})
    found = strengths_and_limits([_cls(probabilities=sure(likeliest), images=images)], [])
    said = _said(found, "for scanner old scanner than for the rest")
    assert said.claim.startswith("cls: accuracy is lower")
    assert "of 45 against" in said.evidence
    assert "One of 2 comparisons" in said.evidence
    assert "1 of 2 comparisons" in _claims(found)
    assert "side" not in _claims(found)


def test_uncertainty_is_useful_or_said_not_to_be() -> None:
    wrong = [i % 4 == 0 for i in range(N)]
    chances = sure([(label + bad) % 3 for label, bad in zip(LABELS, wrong, strict=True)])
    telling = _cls(probabilities=chances, uncertainty=[float(bad) for bad in wrong])
    silent = _cls(probabilities=chances)
    assert "its uncertainty is larger where it is wrong" in _claims(strengths_and_limits([telling], []))
    assert "its uncertainty is not shown to tell errors" in _claims(strengths_and_limits([silent], []))
    assert "whether its uncertainty tells errors cannot be said" in _claims(strengths_and_limits([_cls()], []))


def test_operating_points_that_miss_their_rate_are_told_from_those_that_do_not() -> None:
    points = [
        OperatingPoint(kept="specificity", rate=0.9, threshold=0.01),  # calls everything malignant
        OperatingPoint(kept="sensitivity", rate=0.95, threshold=0.5),
    ]
    found = strengths_and_limits([_cls(points=points)], [])
    missed = _said(found, "keeps less here")
    assert missed.claim == "cls: the threshold that kept 90 % specificity on held-out images keeps less here."
    assert "n = 60 others" in missed.evidence
    assert "n = 30 malignant" in _said(found, "the other threshold is not shown to miss").evidence


def test_the_ensemble_beside_its_best_single() -> None:
    def claim(difference: float, low: float, high: float) -> str:
        beside = {"best_single": 0.9, "difference": difference, "difference_interval": (low, high)}
        return _claims(strengths_and_limits([_cls(beside=beside)], []))

    assert "it is better than its best single candidate" in claim(0.05, 0.01, 0.1)
    assert "it is worse than its best single candidate" in claim(-0.05, -0.1, -0.01)
    assert "it is not told apart from its best single candidate" in claim(0.01, -0.01, 0.02)
    assert "it is the best single candidate, or predicts as that does" in claim(0.0, 0.0, 0.0)
    assert "single" not in _claims(strengths_and_limits([_cls()], []))


def test_limits_are_said_where_there_are_some() -> None:
    assert not {"looked", "optimistic", "synthetic", "costs"} & set(_claims(strengths_and_limits([_cls()], [])).split())
    limits = {"times_scored": 3, "optimistic": True, "synthetic": True, "members": 2, "networks": 10}
    found = strengths_and_limits([_cls(title="model", **limits)], [])
    assert "3 winners were scored" in _said(found, "looked at more than once").evidence
    assert "model" in _said(found, "optimistic").claim
    assert "nothing about patients" in _said(found, "synthetic").evidence
    assert "model: 2 members, 10 networks" in _said(found, "costs up to 10 runs").evidence


def test_all_classes_of_the_lowest_recall_are_named() -> None:
    likeliest = [0 if label == 0 or i % 6 < 3 else label for i, label in enumerate(LABELS)]
    said = _said(strengths_and_limits([_cls(probabilities=sure(likeliest))], []), "lowest recall")
    assert said.claim == "cls: benign and malignant are the classes with the lowest recall here."
    assert "n = 30 benign, 15 called normal" in said.evidence
    assert "n = 30 malignant, 15 called normal" in said.evidence
    assert "Others: normal 1.000" in said.evidence


def test_a_mirrored_network_costs_two_runs() -> None:
    found = strengths_and_limits([_cls(members=2, networks=10, tta=True), _cls(members=2, networks=15)], [])
    assert "10 networks, each run twice" in _said(found, "costs up to 20 runs").evidence


def test_models_that_differ_alike_on_all_resamples_are_not_too_few() -> None:
    pairs = [
        Paired("a", "b", "dice", 50, (0.7, 0.7), 0.0, np.nan, np.nan, alike=True),
        Paired("a", "b", "iou", 5, (0.7, 0.6), 0.1, np.nan, np.nan),
        Paired("a", "b", "fpr_normal", 4, (0.7, 0.6), 0.1, np.nan, np.nan),
    ]
    level, few = strengths_and_limits([], pairs)
    assert level.claim == "a and b are not told apart: Dice of lesions."
    assert "the same in all resamples; n = 50" in level.evidence
    assert few.claim.startswith("There are too few images to compare a and b: IoU")
    assert "n = 5, 4 images" in few.evidence


def test_of_two_kinds_and_blanks_one_comparison_is_made() -> None:
    likeliest = [(label + (i % 4 == 0)) % 3 for i, label in enumerate(LABELS)]
    images = with_columns(N, {"side": [("left", "right", "")[i // 4 % 3] for i in range(N)]})
    found = strengths_and_limits([_cls(probabilities=sure(likeliest), images=images)], [])
    assert "of 1 comparisons" in _said(found, "Sub-groups").claim


def test_few_images_of_a_kind_are_a_limit() -> None:
    labels = [1] * 20 + [2] * 5
    found = strengths_and_limits([subject("cls", labels, probabilities=sure(labels))], [])
    said = _said(found, "fewer than 10 groups")
    assert "normal: 0 images in 0 groups; malignant: 5 images in 5 groups; of 25 images" in said.evidence
    two = subject("cls", [1, 2] * 15, probabilities=sure([0, 1] * 15, classes=2))
    assert "fewer than 10 groups" not in _claims(strengths_and_limits([two], []))  # normals are none of its classes


def test_every_sentence_has_evidence() -> None:
    for observation in strengths_and_limits([_cls()], []):
        assert observation.claim.endswith(".")
        assert observation.evidence.endswith(".")
