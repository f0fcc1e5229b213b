"""Which finished trials become candidates: the best ones that differ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from orchestrator.common.errors import UserError
from orchestrator.ensemble.candidates import Candidate, newest_search, select
from tests.support.candidates import candidate


class Predictions:
    """Random class probabilities a candidate; twins say nearly the same."""

    def __init__(self, twins: dict[str, str] | None = None, broken: str = "") -> None:
        self.twins, self.broken = twins or {}, broken

    def __call__(self, one: Candidate) -> list[np.ndarray]:
        if one.name == self.broken:
            raise UserError("its checkpoint is damaged")
        name = self.twins.get(one.name, one.name)
        drawn = np.random.default_rng(sum(name.encode())).dirichlet([1, 1, 1], 50)
        return [drawn + (0.001 if one.name in self.twins else 0.0)]


def choose(candidates: Sequence[Candidate], count: int, predict: Predictions) -> tuple[list[str], dict[str, str]]:
    skipped: dict[str, str] = {}
    found = select(iter(candidates), count, predict, skipped.__setitem__)
    return [one.name for one in found], skipped


def test_the_best_come_first_and_no_more_than_were_asked_for(tmp_path: Path) -> None:
    pool = [candidate(name, name, score, tmp_path) for name, score in (("a", 0.9), ("b", 0.8), ("c", 0.7))]
    assert choose(pool, 2, Predictions()) == (["a", "b"], {})


def test_near_identical_predictions_are_not_taken_twice(tmp_path: Path) -> None:
    pool = [candidate(name, name, score, tmp_path) for name, score in (("a", 0.9), ("b", 0.8), ("c", 0.7))]
    names, skipped = choose(pool, 2, Predictions(twins={"b": "a"}))
    assert names == ["a", "c"]
    assert skipped == {"b": "its predictions are nearly those of a"}


def test_at_most_two_of_an_architecture_unless_nothing_else_is_left(tmp_path: Path) -> None:
    pool = [candidate(f"unet{i}", "unet", 0.9 - i / 100, tmp_path) for i in range(4)]
    other = candidate("fpn", "fpn", 0.5, tmp_path)
    assert choose([*pool, other], 3, Predictions())[0] == ["unet0", "unet1", "fpn"]
    assert choose(pool, 3, Predictions())[0] == ["unet0", "unet1", "unet2"]


def test_spares_are_asked_only_when_nothing_else_is_left_and_differ_too(tmp_path: Path) -> None:
    pool = [candidate(f"unet{i}", "unet", 0.9 - i / 100, tmp_path) for i in range(6)]
    asked: list[str] = []
    predict = Predictions(twins={"unet3": "unet2"})

    def spy(one: Candidate) -> list[np.ndarray]:
        asked.append(one.name)
        return predict(one)

    found = select(iter([*pool, candidate("fpn", "fpn", 0.5, tmp_path)]), 3, spy, lambda name, why: None)
    assert [one.name for one in found] == ["unet0", "unet1", "fpn"]
    assert asked == ["unet0", "unet1", "fpn"]
    assert choose(pool, 4, predict)[0] == ["unet0", "unet1", "unet2", "unet4"]


def test_one_that_cannot_predict_is_left_out_by_name(tmp_path: Path) -> None:
    pool = [candidate(name, name, score, tmp_path) for name, score in (("a", 0.9), ("b", 0.8), ("c", 0.7))]
    assert choose(pool, 2, Predictions(broken="a")) == (["b", "c"], {"a": "its checkpoint is damaged"})


def test_masks_of_several_sizes_are_compared(tmp_path: Path) -> None:
    small = np.zeros((3, 8, 8), bool)
    small[:, 2:6, 2:6] = True
    said = {"a": small.repeat(2, 1).repeat(2, 2), "b": small, "c": ~small}
    pool = [candidate(name, name, score, tmp_path) for name, score in (("a", 0.9), ("b", 0.8), ("c", 0.7))]
    found = select(iter(pool), 2, lambda one: [said[one.name]], lambda name, why: None)
    assert [one.name for one in found] == ["a", "c"]


def test_without_a_search_of_the_task_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no search of task cls in"):
        newest_search(tmp_path, "cls")
