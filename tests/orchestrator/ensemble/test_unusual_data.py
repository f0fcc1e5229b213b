"""What an ensemble refuses before it trains anything, and which images it leaves out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from orchestrator.common.errors import UserError
from orchestrator.config.search import SearchSettings
from orchestrator.ensemble import plan
from orchestrator.ensemble.member_predictions import held_out_rows
from trainables.data import Prepared
from trainables.data.manifest import TEST
from trainables.tasks import make_task


@pytest.mark.parametrize("task", ["seg", "cls", "multi"])
def test_ordinary_data_are_not_refused(prepared: Prepared, task: str) -> None:
    plan.check_truth(make_task(task), prepared, range(1, 5))


@pytest.mark.parametrize(
    ("task", "missing"), [("cls", "all of one class"), ("seg", "no lesion"), ("multi", "no lesion")]
)
def test_a_test_set_of_normals_is_refused_before_hours_of_training(prepared: Prepared, task: str, missing: str) -> None:
    normals = prepared.labels == 0
    data = replace(prepared, split=np.where(normals, TEST, np.arange(len(normals)) % 3))
    with pytest.raises(UserError, match=f"the test images .*{missing}"):
        plan.check_truth(make_task(task), data, [1, 2])


def test_a_search_says_before_it_begins_that_no_ensemble_can_follow(
    prepared: Prepared, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    settings = SearchSettings(task="cls", storage=tmp_path, tracking_uri="sqlite:///x.db")
    assert plan.forecast(settings, prepared).candidates
    assert not capsys.readouterr().out
    benign = prepared.labels == 1
    data = replace(prepared, split=np.where(benign, TEST, np.arange(len(benign)) % 3))
    assert not plan.forecast(settings, data).candidates
    assert "no ensemble: the test images are all of one class" in capsys.readouterr().out


def test_groups_that_reach_over_a_given_split_are_not_scored(prepared: Prepared) -> None:
    task, rows = make_task("seg"), prepared.fold_rows(0)[1]
    (before,) = held_out_rows(task, prepared, [0])
    groups = prepared.groups.copy()
    groups[prepared.fold_rows(1)[1][0]] = groups[rows[0]]
    (after,) = held_out_rows(task, replace(prepared, groups=groups), [0])
    leaking = np.flatnonzero(groups == groups[rows[0]])
    assert set(before) - set(after) == set(leaking) & set(before)
    assert len(after) < len(before)
