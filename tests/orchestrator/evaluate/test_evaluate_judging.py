"""The verdict on images of another source: beside trivial predictions of these images, and first on the page."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from orchestrator.evaluate import external
from orchestrator.evaluate.judging import OTHER_HALF, SIDE, judge_external, shrunk, trivial
from orchestrator.inference.format import RESULTS, LearntFrom
from orchestrator.scoring.packed_masks import PackedMasks
from orchestrator.scoring.resampling import inner_folds
from orchestrator.scoring.trivial import EVERYTHING, NOTHING
from orchestrator.scoring.values import ScoredPredictions
from tests.support.evaluations import evaluate, page_of
from tests.support.products import small_product

N = 40
GROUPS, LABELS = np.arange(N), np.ones(N, np.int64)


def box(size: tuple[int, int], part: tuple[float, float, float, float]) -> np.ndarray:
    mask = np.zeros(size, bool)
    top, bottom, left, right = part
    mask[round(top * size[0]) : round(bottom * size[0]), round(left * size[1]) : round(right * size[1])] = True
    return mask


def scored(counts: np.ndarray) -> ScoredPredictions:
    return ScoredPredictions(None, np.full(N, -1), counts, np.ones(N, bool))


def test_masks_are_small_and_a_lesion_stays_one() -> None:
    large = box((900, 700), (0.2, 0.5, 0.3, 0.6))
    assert shrunk(large).shape == (SIDE, SIDE)
    assert shrunk(large).mean() == pytest.approx(large.mean(), rel=0.05)
    dot = np.zeros((900, 700), bool)
    dot[450, 350] = True
    assert 1 <= shrunk(dot).sum() <= 4
    assert not shrunk(np.zeros((900, 700), bool)).any()
    assert shrunk(dot[400:500, 300:400]).shape == (100, 100)


def test_trivial_dice_is_of_the_other_half() -> None:
    part = (0.25, 0.75, 0.25, 0.75)
    truth = PackedMasks([shrunk(box((60 + i, 200), part)) for i in range(N)])
    found = trivial(truth, np.ones(N, bool), GROUPS, LABELS)
    assert set(found) == {NOTHING, EVERYTHING, OTHER_HALF}
    assert found[OTHER_HALF].min() > 0.9
    np.testing.assert_allclose(found[EVERYTHING], 0.4, atol=0.02)
    # Halves whose masks lie elsewhere have means that do not fit each other.
    parts = (part, (0.0, 0.2, 0.0, 0.2))
    odd = PackedMasks([shrunk(box((100, 100), parts[half])) for half in inner_folds(GROUPS, LABELS, folds=2)])
    assert trivial(odd, np.ones(N, bool), GROUPS, LABELS)[OTHER_HALF].max() == 0


def test_an_empty_mask_is_not_usable_and_a_right_one_is() -> None:
    sides = [(0.0, 0.4), (0.3, 0.7), (0.6, 1.0)]
    truth = PackedMasks([box((100, 100), (*sides[i % 3], *sides[i // 3 % 3])) for i in range(N)])
    fresh: Any = SimpleNamespace(has_mask=np.ones(N, bool), groups=GROUPS, labels=LABELS)
    described: Any = SimpleNamespace(operating_points=())
    empty = judge_external(described, fresh, scored(np.tile([0, 0, 1600], (N, 1))), truth)
    right = judge_external(described, fresh, scored(np.tile([1600, 0, 0], (N, 1))), truth)
    assert (empty.word, right.word) == ("not usable", "usable for research")
    assert "without any network" in empty.because


@pytest.fixture(scope="module")
def multi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    nothing = LearntFrom(np.zeros((0, 128), np.uint8), 50)
    return small_product(tmp_path_factory.mktemp("multi"), "multi", networks=1, learnt_from=nothing)


def test_the_page_begins_with_both_verdicts(
    multi: Path, phantom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(external, "INTERVAL", 40)
    held_out = {"metric": "score", "value": 0.5, "standard_error": 0.1, "images": 20, "optimistic": False}
    test = {"metric": "score", "value": 0.4, "times_scored": 3}
    verdict = {"word": "weak", "held_out": {"word": "weak", "checks": []}}
    own = {"held_out": held_out, "test": test, "test_images": {"benign": 20}, "verdict": verdict}
    (multi / RESULTS).write_text(json.dumps(own))
    found = evaluate(multi, phantom, tmp_path / "out.html")
    assert found["verdict"]["word"] == "not usable"
    assert {check["name"] for check in found["verdict"]["checks"]} >= {"AUROC", "share of lesions found"}
    assert found["internal"]["verdict"]["word"] == "weak"
    page = page_of(tmp_path / "out.html")
    assert list(page.sections)[1] == "answer"
    said = page.sections["answer"]
    assert said.index("On these images: not usable") < said.index("On its own data: weak")
    assert "40 images in" in said
    assert "looked at 3 times" in said
    assert "images by true class" in page.text
    assert page.text.count("images by true class") == 1, "the confusion is shown once"


def test_without_an_own_verdict_the_page_says_what_to_do(multi: Path, phantom: Path, tmp_path: Path) -> None:
    (multi / RESULTS).unlink(missing_ok=True)
    evaluate(multi, phantom, tmp_path / "out.md", "--format", "md")
    assert "On its own data: no verdict was written; build the ensemble again" in (tmp_path / "out.md").read_text()


def test_nothing_that_a_verdict_rests_on() -> None:
    fresh: Any = SimpleNamespace(has_mask=np.zeros(N, bool), groups=GROUPS, labels=LABELS)
    described: Any = SimpleNamespace(operating_points=())
    unknown = replace(scored(np.zeros((N, 3), np.int64)), has_mask=np.zeros(N, bool))
    found = judge_external(described, fresh, unknown, PackedMasks([np.zeros((9, 9), bool)] * N))
    assert found.line == "cannot be told: nothing is there that a verdict rests on"
