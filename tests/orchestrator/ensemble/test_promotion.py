"""Who becomes the champion: the rule, on predictions whose right answer is known."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from orchestrator.ensemble.promotion import verdict
from orchestrator.scoring.metrics import ScoredPredictions
from orchestrator.scoring.predictions import HELD_OUT, TEST, StoredPredictions
from orchestrator.storage.atomic import write_arrays

N = 120


def evidence(skill: float, seed: int = 0, n: int = N) -> StoredPredictions:
    """Class predictions that know the class the better, the more skill."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    logits = skill * np.eye(3)[labels] + rng.normal(0, 1, (n, 3))
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    scored = ScoredPredictions(probabilities, labels, None, np.zeros(n, bool))
    return StoredPredictions(scored, tuple(f"{i:08x}" for i in range(n)), np.arange(n), labels)


def champion(folder: Path, held_out: StoredPredictions, test: StoredPredictions, **tags: str) -> dict[str, Any]:
    write_arrays(folder / HELD_OUT, held_out.arrays())
    write_arrays(folder / TEST, test.arrays())
    own = {"data_fingerprint": "d1", "synthetic": "false", "classes": "3", "optimistic": "false"}
    standing = SimpleNamespace(version="3", tags={**own, **tags})
    return {"standing": standing, "stored": folder}


NEW: dict[str, Any] = {
    "alarms": 0.2, "alarms_of_best": 0.2, "synthetic": False, "data_fingerprint": "d1",
    "classes": 3, "optimistic": False,
    "held_out": evidence(2.0), "test": evidence(2.0), "test_to_best": (0.01, -0.02, 0.04),
    "standing": None, "stored": None,
}  # fmt: skip


def judge(mode: str = "auto", **given: Any) -> tuple[bool, str]:
    return verdict("cls", mode, **{**NEW, **given})


def test_without_a_champion_the_first_is_one() -> None:
    assert judge() == (True, "there was no champion")


def test_never_and_always_ask_nothing() -> None:
    assert judge("never") == (False, "--promote never")
    assert judge("always", alarms=0.9)[0]


def test_a_better_one_takes_the_place_and_an_equal_one_does_not(tmp_path: Path) -> None:
    standing = champion(tmp_path, evidence(0.5, seed=1), evidence(0.5, seed=1))
    promoted, why = judge(**standing)
    assert promoted
    assert "better than the champion (version 3)" in why
    promoted, why = judge(**{**standing, "held_out": evidence(0.5, seed=2)})
    assert not promoted
    assert "not clearly better" in why


def test_test_images_only_veto(tmp_path: Path) -> None:
    standing = champion(tmp_path, evidence(0.5, seed=1), evidence(3.0, seed=1))
    promoted, why = judge(**standing, test=evidence(0.2))
    assert not promoted
    assert "worse than the champion (version 3) on test images" in why
    # However much better on test, it is not promoted for that.
    standing = champion(tmp_path, evidence(2.0, seed=1), evidence(0.1, seed=1))
    assert not judge(**standing, test=evidence(4.0))[0]


def test_worse_than_the_best_single_on_test_images_is_not_promoted() -> None:
    promoted, why = judge(test_to_best=(-0.05, -0.09, -0.01))
    assert not promoted
    assert "worse than the best single on test images" in why


@pytest.mark.parametrize(("alarms", "promoted"), [(0.249, True), (0.26, False), (None, True)])
def test_more_false_alarms_than_the_best_single_are_not_promoted(alarms: float | None, promoted: bool) -> None:
    assert judge(alarms=alarms)[0] == promoted


def test_other_data_cannot_be_compared_but_synthetic_data_give_way(tmp_path: Path) -> None:
    other = champion(tmp_path, evidence(0.1), evidence(0.1), data_fingerprint="d2")
    promoted, why = judge(**other)
    assert not promoted
    assert "other data" in why
    phantom = champion(tmp_path, evidence(3.0), evidence(3.0), data_fingerprint="d3", synthetic="true")
    assert judge(**phantom)[0]
    assert not judge(**{**phantom, "synthetic": True})[0]


def test_a_model_of_two_classes_does_not_take_the_place_of_one_of_three(tmp_path: Path) -> None:
    standing = champion(tmp_path, evidence(0.1), evidence(0.1))
    promoted, why = judge(**standing, classes=2)
    assert not promoted
    assert "other data or classes" in why


@pytest.mark.parametrize("whose", ["its own", "the champion's"])
def test_optimistic_predictions_move_no_champion(tmp_path: Path, whose: str) -> None:
    standing = champion(tmp_path, evidence(0.1), evidence(0.1), optimistic=str(whose != "its own").lower())
    promoted, why = judge(**standing, optimistic=whose == "its own")
    assert not promoted
    assert "without out-of-fold predictions" in why


def test_predictions_that_cannot_be_read_keep_the_champion(tmp_path: Path) -> None:
    standing = champion(tmp_path, evidence(0.1), evidence(0.1))
    promoted, why = judge(**{**standing, "stored": None})
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
