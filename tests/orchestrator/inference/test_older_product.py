"""What an earlier version exported still predicts, and the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.inference.predictor import Predictor
from tests.support.products import pictures

FILES = Path(__file__).parents[2] / "files"


def test_a_folder_that_version_0_1_exported_predicts_as_it_did() -> None:
    said = Predictor.load(FILES / "product-of-0.1", "cpu").predict(pictures(4, seed=5))
    expected = json.loads((FILES / "product-of-0.1.json").read_text())
    for one, then in zip(said, expected, strict=True):
        assert one.mask is not None
        assert int(one.mask.sum()) == pytest.approx(then["lesion_pixels"], rel=0.01)  # other processors round otherwise
        assert one.uncertainty == pytest.approx(then["uncertainty"], abs=1e-3)
