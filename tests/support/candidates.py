"""A candidate of an ensemble, without a search."""

from __future__ import annotations

from pathlib import Path

from orchestrator.config.search import SearchSettings
from orchestrator.ensemble.candidates import Candidate


def candidate(name: str, architecture: str, score: float, tmp_path: Path) -> Candidate:
    return Candidate(
        run_id=name, trial_id=name, name=name, search=SearchSettings(storage=tmp_path, tracking_uri="sqlite:///x.db"),
        config={"architecture": architecture, "encoder": ""}, epoch=1, score=score, weights="random",
        checkpoint=tmp_path / name, image_size=32, seconds=1.0,
    )  # fmt: skip
