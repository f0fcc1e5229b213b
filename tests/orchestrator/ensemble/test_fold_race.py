"""Which candidates stay in the race, on predictions that were made up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from orchestrator.config.search import SearchSettings
from orchestrator.ensemble.candidates import Candidate
from orchestrator.ensemble.fold_race import BEHIND, hopeless, race
from orchestrator.ensemble.forecast import Scale
from orchestrator.ensemble.held_out import OutOfFoldPredictions
from orchestrator.ensemble.member import Member
from orchestrator.ensemble.members import MemberTrainer
from tests.support import heldouts
from tests.support.candidates import candidate
from trainables import checkpoint
from trainables.data import Prepared
from trainables.held_out import Job
from trainables.tasks import make_task


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


class TimeForOneFold(MemberTrainer):
    """Trains in no time what is of the first fold, and has no time for the others."""

    def in_time(self, jobs: Mapping[str, Job], owner: Mapping[str, Candidate]) -> bool:
        return all(job.fold == 1 for job in jobs.values())

    def train(self, jobs: Mapping[str, Job], *rest: Any, **words: Any) -> dict[str, str]:
        for job in jobs.values():
            job.folder.mkdir(parents=True)
            (job.folder / checkpoint.WEIGHTS).touch()
        return {}

    def member(self, name: str, candidate: Candidate, checkpoints: Mapping[int, Path]) -> Member:
        return Member(name, checkpoints, self.data, False)


@pytest.mark.parametrize("lesions_in_fold_1", [True, False])
def test_a_fold_that_cannot_be_scored_alone_does_not_count(
    prepared: Prepared, tmp_path: Path, lesions_in_fold_1: bool
) -> None:
    normals = prepared.labels == 0
    folds = np.where(normals, 1, 2 * (np.arange(len(normals)) % 2))
    data = prepared if lesions_in_fold_1 else replace(prepared, split=folds)
    settings = SearchSettings(task="seg", storage=tmp_path, tracking_uri="sqlite:///x.db")
    team: Any = TimeForOneFold(make_task("seg"), settings, data, SimpleNamespace(slots=1), False, True)  # type: ignore[arg-type]
    entered = [candidate(name, "smp_unet", 0.5, tmp_path) for name in ("one", "two")]
    scale = Scale(images=60, test=10, folds=3, compared=2, slots=1, masks=True)
    tracker: Any = None
    _, members = race(team, entered, [1, 2], scale, tracker, drop=False, seed=0)
    assert [sorted(member.checkpoints) for member in members] == [[0, 1] if lesions_in_fold_1 else [0]] * 2
    what = "1 of 2 compared folds" if lesions_in_fold_1 else "out-of-fold predictions"
    assert [one.startswith(what) for one in team.deadline.lacks] == [True]
