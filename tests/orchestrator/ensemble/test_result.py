"""What an ensemble came to, as it stands in its file and in tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.ensemble.result import EnsembleResult

ROW: dict[str, Any] = {
    "name": "best",
    "score": 0.9,
    "standard_error": 0.01,
    "difference_to_best": {"value": 0.0, "standard_error": 0.0},
    "difference_to_mean": None,
    "fpr_normal": None,
    "members": ["a"],
    "note": "",
    "weights": {"classes": {"a": 1.0}},
}
#: As version 0.1 wrote it, with what came since.
STORED: dict[str, Any] = {
    "task": "cls",
    "classes": 3,
    "name": "s",
    "identity": "",
    "settings": {"tta": False, "tracking_uri": "sqlite:///mlflow.db"},
    "data": {"fingerprint": "f", "source": "x", "synthetic": True},
    "out_of_fold": True,
    "compared": {"images": 9, "optimistic": False, "folds": []},
    "candidates": [{"run_id": "r", "name": "a", "architecture": "a", "score": 0.91}],
    "combiners": [ROW, {**ROW, "name": "mean", "score": None, "members": [], "note": "failed: no", "weights": {}}],
    "boost_rounds": [
        {"round": 1, "effective": 8.5, "images": 9, "suspects": [], "accepted": False, "note": "nothing to boost"},
        {
            **{"round": 2, "effective": 8.5, "images": 9, "suspects": ["d"], "accepted": True},
            **{"start": "a", "epochs": 2, "note": "", "loss_falls_by": 0.1, "standard_error": 0.05},
            **{"score_before": 0.9, "score_with": 0.91},
        },
    ],
    "winner": "best",
    "why": "best is the reference",
    "digest": "d",
    "test": {
        **{"metric": "auroc", "value": 0.93, "interval": [0.9, 0.95]},
        "scores": {"auroc": {"value": 0.93, "interval": [0.9, 0.95]}, "ece": {"value": 0.1, "interval": None}},
        **{"confusion": {}, "operating_points": [], "uncertainty": None},
        **{"triage": None, "calibration": None, "decision_curve": None},
        **{"best_single": 0.9, "difference": 0.03, "difference_interval": [0.01, 0.05]},
        **{"retraining": {"values": [0.9], "standard_deviation": None}, "times_scored": 2, "judgement": None},
    },
    "model_uri": "models:/breast-ultrasound-cls/7",
    "promoted": False,
    "why_promoted": "--promote never",
    "sources": [],
    "verdict": None,
    "seconds": 1.5,
    "lacks": [],
}


def test_a_file_is_read_and_written_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "ensemble.json").write_text(json.dumps(STORED))
    found = EnsembleResult.read(tmp_path / "ensemble.json")
    assert found.to_json() == json.dumps(STORED, indent=2) + "\n"
    assert (found.winning.name, found.tta, found.test.difference) == ("best", False, 0.03)


@pytest.mark.parametrize("missing", ["test", "winner", "combiners"])
def test_a_file_that_lacks_something_is_not_taken(missing: str) -> None:
    with pytest.raises(ValueError, match=missing):
        EnsembleResult.model_validate({name: value for name, value in STORED.items() if name != missing})


def test_it_converts_to_tables() -> None:
    found = EnsembleResult.model_validate(STORED)
    combiners = found.combiners_frame()
    assert combiners.loc["best", ["score", "difference_to_best_error", "members", "winner"]].tolist() == [
        0.9,
        0,
        1,
        True,
    ]
    assert combiners["difference_to_mean"].isna().all()
    assert found.test_frame().loc["auroc"].tolist() == [0.93, 0.9, 0.95]
    assert found.test_frame()["low"].isna().tolist() == [False, True]
