"""Who becomes the champion: the rule, on predictions whose right answer is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator.ensemble.promotion import SCORED, BesideBest, Contender, decision, times_scored
from orchestrator.scoring.checks import Check
from orchestrator.scoring.predictions import StoredPredictions
from orchestrator.scoring.values import ScoredPredictions
from orchestrator.scoring.verdict import Judgement, Verdict
from orchestrator.storage.atomic import write_arrays
from orchestrator.tracking.client import open_store

N = 120


def evidence(skill: float, seed: int = 0, n: int = N) -> StoredPredictions:
    """Class predictions that know the class the better, the more skill."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    logits = skill * np.eye(3)[labels] + rng.normal(0, 1, (n, 3))
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    scored = ScoredPredictions(probabilities, labels, None, np.zeros(n, bool))
    return StoredPredictions(scored, tuple(f"{i:08x}" for i in range(n)), np.arange(n), labels)


OWN: dict[str, Any] = {"data_fingerprint": "d1", "synthetic": False, "classes": 3, "optimistic": False}
NEW = Contender("4", **OWN, held_out=evidence(2.0), test=evidence(2.0))
BESIDE = BesideBest(alarms=0.2, alarms_of_best=0.2, difference=(0.01, -0.02, 0.04))


def champion(held_out: StoredPredictions | None, test: StoredPredictions | None, **own: Any) -> Contender:
    return Contender("3", **{**OWN, **own}, held_out=held_out, test=test)


def judge(
    mode: str = "auto", champion: Contender | None = None, beside: BesideBest = BESIDE, **given: Any
) -> tuple[bool, str]:
    return decision("cls", mode, replace(NEW, **given), beside, champion)


def test_without_a_champion_the_first_is_one() -> None:
    assert judge() == (True, "there was no champion")


def test_never_and_always_ask_nothing() -> None:
    assert judge("never") == (False, "--promote never")
    assert judge("always", beside=replace(BESIDE, alarms=0.9))[0]


def test_a_better_one_takes_the_place_and_an_equal_one_does_not() -> None:
    standing = champion(evidence(0.5, seed=1), evidence(0.5, seed=1))
    promoted, why = judge(champion=standing)
    assert promoted
    assert "better than the champion (version 3)" in why
    promoted, why = judge(champion=standing, held_out=evidence(0.5, seed=2))
    assert not promoted
    assert "not clearly better" in why


def test_test_images_only_veto() -> None:
    standing = champion(evidence(0.5, seed=1), evidence(3.0, seed=1))
    promoted, why = judge(champion=standing, test=evidence(0.2))
    assert not promoted
    assert "worse than the champion (version 3) on test images" in why
    # However much better on test, it is not promoted for that.
    standing = champion(evidence(2.0, seed=1), evidence(0.1, seed=1))
    assert not judge(champion=standing, test=evidence(4.0))[0]


def test_worse_than_the_best_single_on_test_images_is_not_promoted() -> None:
    promoted, why = judge(beside=replace(BESIDE, difference=(-0.05, -0.09, -0.01)))
    assert not promoted
    assert "worse than the best single on test images" in why


@pytest.mark.parametrize(("alarms", "promoted"), [(0.249, True), (0.26, False), (None, True)])
def test_more_false_alarms_than_the_best_single_are_not_promoted(alarms: float | None, promoted: bool) -> None:
    assert judge(beside=replace(BESIDE, alarms=alarms))[0] == promoted


def test_other_data_cannot_be_compared_but_synthetic_data_give_way() -> None:
    other = champion(evidence(0.1), evidence(0.1), data_fingerprint="d2")
    promoted, why = judge(champion=other)
    assert not promoted
    assert "other data" in why
    phantom = champion(evidence(3.0), evidence(3.0), data_fingerprint="d3", synthetic=True)
    assert judge(champion=phantom)[0]
    assert not judge(champion=phantom, synthetic=True)[0]


def test_a_model_of_two_classes_does_not_take_the_place_of_one_of_three() -> None:
    standing = champion(evidence(0.1), evidence(0.1))
    promoted, why = judge(champion=standing, classes=2)
    assert not promoted
    assert "other data or classes" in why


@pytest.mark.parametrize("whose", ["its own", "the champion's"])
def test_optimistic_predictions_move_no_champion(whose: str) -> None:
    standing = champion(evidence(0.1), evidence(0.1), optimistic=whose != "its own")
    promoted, why = judge(champion=standing, optimistic=whose == "its own")
    assert not promoted
    assert "without out-of-fold predictions" in why


def test_predictions_that_cannot_be_read_keep_the_champion() -> None:
    promoted, why = judge(champion=champion(None, None))
    assert not promoted
    assert "cannot be read" in why


def test_evidence_is_compared_on_the_images_of_both(tmp_path: Path) -> None:
    one, other = evidence(2.0), evidence(0.5, seed=1, n=60)
    write_arrays(tmp_path / "other.npz", other.arrays())
    found = one.difference(StoredPredictions.load(tmp_path / "other.npz"), "cls")
    assert found is not None
    assert found[1] <= found[0] <= found[2]
    strangers = StoredPredictions(one.scored, tuple(f"x{digest}" for digest in one.digests), one.groups, one.labels)
    assert one.difference(strangers, "cls") is None


def test_one_below_the_floor_becomes_champion_where_it_is_told_to_alone() -> None:
    words = "0 of 90 lesions are found, fewer than half"
    check = Check(claim=words, value=0.0, interval=None, n=90, side="against", floor=True)
    below = Verdict.of(Judgement(word="not usable", checks=(check,)), None)
    assert judge(verdict=below) == (False, f"it is not usable: {words}")
    assert judge("always", verdict=below) == (True, "--promote always, though it is not usable")
    untold = Verdict.of(Judgement(word="cannot be told", checks=()), None)
    assert not judge(verdict=untold)[0]
    weak = Verdict.of(Judgement(word="weak", checks=()), None)
    assert judge(verdict=weak) == (True, "there was no champion")


def test_looks_at_the_test_images_count_when_their_run_or_experiment_is_deleted(tmp_path: Path) -> None:
    client = open_store(f"sqlite:///{tmp_path / 'mlflow.db'}", create=True)
    experiments = [client.create_experiment(name) for name in ("one", "two")]
    runs = []
    for number, (experiment, data) in enumerate(
        [(experiments[0], "d1"), (experiments[1], "d1"), (experiments[1], "d2")]
    ):
        tags = {"kind": "ensemble", "data_fingerprint": data, f"{SCORED}{number}": "yes"}
        runs.append(client.create_run(experiment, tags=tags).info.run_id)
    assert times_scored(client, "d1") == 2
    client.delete_run(runs[0])
    assert times_scored(client, "d1") == 2
    client.delete_experiment(experiments[1])
    assert (times_scored(client, "d1"), times_scored(client, "d2")) == (2, 1)
