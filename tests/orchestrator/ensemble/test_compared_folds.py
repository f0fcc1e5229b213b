"""How many folds combiners are compared on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from orchestrator.config.search import SearchSettings
from orchestrator.ensemble.plan import compared_folds
from trainables.data import Prepared
from trainables.tasks import make_task


@pytest.fixture
def search(tmp_path: Path) -> SearchSettings:
    return SearchSettings(task="cls", storage=tmp_path, tracking_uri="sqlite:///x.db")


def large(small: Prepared, images: int) -> Prepared:
    """As many rows, each a group of its own, in five folds; classes in turn."""
    rows = np.arange(images)
    return replace(small, labels=rows % 3, groups=rows, split=rows // 3 % 5, has_mask=np.ones(images, bool))


@pytest.mark.parametrize(("images", "folds"), [(1500, [1, 2]), (600, [1, 2]), (345, [1, 2, 3]), (170, [1, 2, 3, 4])])
def test_as_many_as_give_groups_enough(
    prepared: Prepared, search: SearchSettings, images: int, folds: list[int]
) -> None:
    assert compared_folds(make_task("cls"), large(prepared, images), search, every=False) == folds


def test_a_rare_class_needs_more_folds(prepared: Prepared, search: SearchSettings) -> None:
    data = large(prepared, 1500)
    rare = replace(data, labels=np.where(np.arange(1500) % 11 == 0, data.labels, data.labels.clip(1)))
    assert compared_folds(make_task("cls"), rare, search, every=False) == [1, 2, 3]


def test_all_where_it_is_asked_for_and_where_each_source_is_a_fold(prepared: Prepared, search: SearchSettings) -> None:
    data = large(prepared, 1500)
    assert compared_folds(make_task("cls"), data, search, every=True) == [1, 2, 3, 4]
    by_source = search.model_copy(update={"folds": "source"})
    assert compared_folds(make_task("cls"), data, by_source, every=False) == [1, 2, 3, 4]
    assert compared_folds(make_task("cls"), prepared, search, every=False) == [1, 2, 3, 4], "of a small data set"
