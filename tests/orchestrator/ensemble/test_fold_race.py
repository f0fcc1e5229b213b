"""Which candidates stay in the race, on predictions that were made up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from orchestrator.ensemble.fold_race import BEHIND, hopeless
from orchestrator.ensemble.held_out import OutOfFoldPredictions
from tests.support import heldouts


def with_noise(held: OutOfFoldPredictions, member: int) -> OutOfFoldPredictions:
    """A member that knows nothing."""
    rng = np.random.default_rng(9)
    planes = None if held.planes is None else held.planes.copy()
    logits = None if held.class_logits is None else held.class_logits.copy()
    for said in (planes, logits):
        if said is not None:
            said[member] = rng.normal(size=said[member].shape)
    return replace(held, planes=planes, class_logits=logits)


@pytest.mark.parametrize("task", ["seg", "cls", "multi"])
def test_who_knows_nothing_goes(task: str) -> None:
    made = {"seg": heldouts.segmentation, "cls": heldouts.classification, "multi": heldouts.multi}[task]
    held = with_noise(made(n=90, candidates=4), 2)
    found = hopeless(task, held, BEHIND, seed=0)
    assert list(found) == [2]
    assert "behind the best on" in found[2]


def test_who_is_behind_but_adds_to_the_others_stays() -> None:
    """The first sees the left half alone, and worse than the others the right: without it half of each lesion is."""
    held = heldouts.segmentation(n=90, candidates=3, kind="complementary")
    assert held.planes is not None
    weak = held.planes.copy()
    weak[0] *= 0.5
    alone = replace(held, planes=np.concatenate([weak, weak[1:2] + 0.1]), names=(*held.names, "member 3"), candidates=4)
    assert 0 not in hopeless("seg", alone, BEHIND, seed=0)


def test_two_remain_however_bad_they_are() -> None:
    held = heldouts.classification(n=90, candidates=4)
    for member in (1, 2, 3):
        held = with_noise(held, member)
    assert len(hopeless("cls", held, BEHIND, seed=0)) <= 2
    assert 0 not in hopeless("cls", held, BEHIND, seed=0)


def test_alike_candidates_all_stay() -> None:
    assert not hopeless("cls", heldouts.classification(n=90, candidates=4), BEHIND, seed=0)
