"""Sentences about models: said where the figures carry them, on the side that they speak for, no praise too many."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from orchestrator.rendering.document import Statement
from orchestrator.report.results.statements import statements
from orchestrator.scoring.checks import Check
from orchestrator.scoring.operating_points import OperatingPoint
from orchestrator.scoring.verdict import judge
from tests.support.subjects import mask, subject, sure, with_columns

N = 90
LABELS = [i % 3 for i in range(N)]
RIGHT = sure(LABELS)
TRUE = [mask(0 if label == 0 else 9) for label in LABELS]
EMPTY = [mask(0)] * N


def judged(given: Any, trivial: float = 0.3, points: Any = (), **names: Any) -> Any:
    """The same model with a verdict by the images that it is shown on."""
    evidence = given.tested.evidence
    best = None if evidence.scored.counts is None else ("the mean mask", np.full(len(evidence.labels), trivial))
    found = judge(evidence.scored, evidence.groups, evidence.labels, best, points)
    return replace(given, judged=names or {"held-out": found})


def _cls(**fields: Any) -> Any:
    return subject("cls", LABELS, **{"probabilities": RIGHT, **fields})


def _seg(predicted: Any, **fields: Any) -> Any:
    return subject("seg", LABELS, true=TRUE, predicted=predicted, **fields)


def _said(found: list[Statement], words: str) -> Statement:
    (one,) = [said for said in found if words in said.claim]
    return one


def _claims(found: list[Statement], side: str = "") -> str:
    return "\n".join(one.claim for one in found if not side or one.side == side)


def test_false_alarms_stand_beside_misses_and_none_is_no_praise_of_an_empty_mask() -> None:
    found = statements([judged(_seg(EMPTY))])
    one = _said(found, "something is seen")
    assert one.claim == (
        "60 of 60 lesions are outlined with a Dice below 0.5, 60 of them not touched at all; something is seen in 0 of "
        "30 normal images."
    )
    assert one.side == "against"
    assert "for" not in {one.side for one in found}
    alarms = [mask(i % 2 if label == 0 else 9) for i, label in enumerate(LABELS)]
    one = _said(statements([judged(_seg(alarms))]), "something is seen")
    assert (one.side, one.weight) == ("against", 0.5)
    assert "something is seen in 15 of 30 normal images" in one.claim
    assert "seen: 0.500 (" in one.evidence
    one = _said(statements([judged(_seg(TRUE))]), "something is seen")
    assert one.side == "for"


def test_the_floor_comes_first_and_then_the_larger_limit() -> None:
    against = [one for one in statements([judged(_seg(EMPTY))]) if one.side == "against"]
    assert [one.floor for one in against[:2]] == [True, True]
    assert "against 0.300 of the mean mask" in against[0].claim + against[1].claim
    assert [one.weight for one in against] == sorted((one.weight for one in against), reverse=True)
    assert _claims(against).count("lesions are found") == 1, "not once for each limit that it fails"


def test_what_passes_beside_a_failed_floor_is_no_strength() -> None:
    """Specificity is kept by who calls nothing malignant."""
    points = [OperatingPoint(kept="specificity", rate=0.9, threshold=0.95)]
    hopeless = judged(_cls(probabilities=np.tile([0.2, 0.5, 0.3], (N, 1)), points=points), points=points)
    found = statements([hopeless])
    assert "for" not in {one.side for one in found}
    kept = _said(found, "keeps 100%")
    assert kept.side == "unknown"
    assert "No strength: AUROC 0.500" in kept.evidence
    assert not [one for one in found if "confidence" in one.claim or "probabilities" in one.claim]
    good = statements([judged(_cls(points=points))])
    assert "AUROC 1.000" in _claims(good, "for")


def test_without_a_verdict_nothing_is_praised() -> None:
    found = statements([_seg(TRUE), _cls()])
    assert "for" not in {one.side for one in found}
    assert "no verdict was written" in _said(found, "something is seen").evidence


def test_a_figure_of_held_out_and_test_images_is_one_sentence() -> None:
    one = judged(_seg(TRUE))
    both = judged(_seg(TRUE), **{"held-out": one.judged["held-out"], "test": judged(_seg(EMPTY)).judged["held-out"]})
    found = _said(statements([both]), "lesions are found")
    assert found.claim == "0 of 60 lesions are found, fewer than half (test)."
    assert found.side == "against"
    assert found.evidence == ("Share of lesions found, held-out: 1.000, n = 60 images; test: 0.000, n = 60 images.")


def test_recall_stands_beside_precision_for_malignant_and_the_weakest_class() -> None:
    likeliest = [1 if label == 2 and i % 2 else label for i, label in enumerate(LABELS)]
    one = _said(statements([_cls(probabilities=sure(likeliest))]), "called something else")
    assert one.claim == "Of 30 malignant images 15 are called something else: 0 normal and 15 benign."
    assert one.side == "against"
    assert "Recall: 0.500 (0.400 to 0.600), n = 30 malignant images; precision: 1.000" in one.evidence
    likeliest = [0 if label == 0 or i % 6 < 3 else label for i, label in enumerate(LABELS)]
    assert _claims(statements([_cls(probabilities=sure(likeliest))])).count("called something else") == 2
    assert "called something else" not in _claims(statements([_cls()]))
    two = subject("cls", [1] * 20, probabilities=sure([0] * 20, classes=2))
    assert "how many malignant images it misses is not known" in _claims(statements([two])).lower()


def test_probabilities_that_do_not_hold_are_said() -> None:
    half = [(label + i // 3 % 2) % 3 for i, label in enumerate(LABELS)]
    bold, modest = (_cls(probabilities=sure(half, chance)) for chance in (0.95, 0.5))
    assert _said(statements([bold]), "Its probabilities are higher than").side == "against"
    assert _said(statements([modest]), "either over-confidence nor under-confidence").side == "unknown"
    shy = _cls(probabilities=np.vstack([sure([label], 0.5 + i / 900) for i, label in enumerate(LABELS)]))
    assert _said(statements([shy]), "Its probabilities are lower than").side == "against"


def test_small_lesions_are_worse_only_where_that_is_so() -> None:
    sizes = [20 + i for i in range(N)]
    true = [mask(size) for size in sizes]
    rng = np.random.default_rng(0)
    shares = {"worse": np.where(np.arange(N) < 30, 0.4, 0.9), "same": np.full(N, 0.7)}
    claims = {}
    for name, share in shares.items():
        noisy = (share + rng.uniform(-0.1, 0.1, N)) * sizes
        made = subject("seg", [1] * N, true=true, predicted=[mask(round(hit)) for hit in noisy])
        claims[name] = _claims(statements([made]))
    assert "Dice is lower for the smallest third of the lesions than for the largest third." in claims["worse"]
    assert "third" not in claims["same"]


def test_subgroups_are_told_with_the_number_of_comparisons_and_the_worse_one_first() -> None:
    bad = [i % 2 == 0 for i in range(N)]
    likeliest = [
        (label + (is_bad and i % 4 == 0)) % 3 for i, (label, is_bad) in enumerate(zip(LABELS, bad, strict=True))
    ]
    likeliest[1] = 2  # one error in the other half: an interval needs some of each
    for names in (("old", "new"), ("new", "old")):
        source = [names[0] if is_bad else names[1] for is_bad in bad]
        images = with_columns(N, {"scanner": source, "side": ["left" if i // 4 % 2 else "right" for i in range(N)]})
        found = statements([_cls(probabilities=sure(likeliest), images=images)])
        said = _said(found, "scanner")
        assert said.claim == f"Accuracy is lower for scanner {names[0]} than for the rest."
        assert said.side == "against"
        assert "n = 45 images of known class" in said.evidence
        assert "One of 2 comparisons" in said.evidence
        assert "side" not in _claims(found)


def test_sub_groups_that_are_alike_are_not_known_apart_and_blanks_are_none() -> None:
    likeliest = [(label + (i % 4 == 0)) % 3 for i, label in enumerate(LABELS)]
    images = with_columns(N, {"side": [("left", "right", "")[i // 4 % 3] for i in range(N)]})
    found = statements([_cls(probabilities=sure(likeliest), images=images)])
    one = _said(found, "Sub-groups by side")
    assert one.claim == "Sub-groups by side: in 1 comparison none is told apart from the rest."
    assert one.side == "unknown"


def test_uncertainty_is_useful_or_said_not_to_be() -> None:
    wrong = [i % 4 == 0 for i in range(N)]
    chances = sure([(label + bad) % 3 for label, bad in zip(LABELS, wrong, strict=True)])
    telling = judged(_cls(probabilities=chances, uncertainty=[float(bad) for bad in wrong]))
    silent = _cls(probabilities=chances)
    assert _said(statements([telling]), "Its uncertainty is larger where it is wrong").side == "for"
    assert _said(statements([silent]), "Its uncertainty is not shown to tell errors").side == "unknown"
    assert "hether its uncertainty tells errors cannot be said" in _claims(statements([_cls()]))


def test_the_ensemble_beside_its_best_single() -> None:
    def said(difference: float, low: float, high: float) -> Statement:
        beside = {"best_single": 0.9, "difference": difference, "difference_interval": (low, high)}
        return _said(statements([judged(_cls(beside=beside))]), "best single candidate")

    assert (said(0.05, 0.01, 0.1).claim, said(0.05, 0.01, 0.1).side) == (
        "The ensemble is better than its best single candidate.",
        "for",
    )
    assert said(-0.05, -0.1, -0.01).side == "against"
    assert said(0.01, -0.01, 0.02).side == "unknown"
    assert "single" not in _claims(statements([_cls()]))
    beside = {"best_single": 0.9, "difference": 0.0, "difference_interval": (0.0, 0.0)}
    assert "single" not in _claims(statements([_cls(beside=beside)])), "it is that candidate"


def test_few_images_of_a_kind_are_told_once_for_models_of_the_same_images() -> None:
    labels = [1] * 20 + [2] * 5
    few = subject("cls", labels, probabilities=sure(labels))
    found = statements([few, subject("cls", labels, probabilities=sure(labels), title="other")])
    said = _said(found, "fewer than 10 groups")
    assert said.claim.startswith("cls, other: ")
    assert "normal: 0 images in 0 groups; malignant: 5 images in 5 groups; of 25 images" in said.evidence
    two = subject("cls", [1, 2] * 15, probabilities=sure([0, 1] * 15, classes=2))
    assert "fewer than 10 groups" not in _claims(statements([two]))  # normals are none of its classes


def test_a_sentence_names_its_model_where_there_are_several() -> None:
    several = statements([judged(_cls(title="a")), judged(_cls(title="b"))])
    assert {one.claim[:3] for one in several} == {"a: ", "b: "}
    for one in [*several, *statements([judged(_cls())])]:
        assert one.claim.endswith(".")
        assert one.evidence.endswith(".")


def test_a_machine_on_which_all_is_wrong_is_a_failure_and_a_blank_is_no_machine() -> None:
    machine = ["A"] * 60 + ["B"] * 30 + [""] * 30
    labels = [i % 3 for i in range(120)]
    likeliest = [(label + (i % 9 == 0 if i < 60 else 1)) % 3 for i, label in enumerate(labels)]
    images = with_columns(120, {"machine": machine})
    found = statements([subject("cls", labels, probabilities=sure(likeliest), images=images)])
    one = _said(found, "machine")
    assert one.claim == "Accuracy is lower for the rest than for machine A."
    assert "not given" not in one.evidence
    assert Check.model_fields["name"].default == "", "files of before have none"
