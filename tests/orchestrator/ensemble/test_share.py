"""What an ensemble's trainings get of a GPU: what the search measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.cluster import nodes
from orchestrator.cluster.resources import Host
from orchestrator.config.cli import make_settings
from orchestrator.config.search import SearchSettings
from orchestrator.ensemble.plan import share
from orchestrator.tuning.identity import Identity
from orchestrator.tuning.ledger import Ledger


@pytest.mark.parametrize(("gpus", "asked", "each"), [(1, "auto", 0.125), (0, "auto", 0), (1, 0.5, 0.5), (1, None, 1)])
def test_it_packs_as_the_search_did(
    gpus: int, asked: str | float | None, each: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes, "wait_for_workers", lambda cpus, gpus: None)
    monkeypatch.setattr(nodes, "possible", lambda: [Host(16, gpus)])
    search = make_settings(SearchSettings, {"storage": tmp_path, "name": "night", "gpus_per_trial": asked})
    search.folder.mkdir(parents=True)
    Ledger(search.folder).launch(Identity(id="x"), 0.125)  # what `auto` came to
    assert share(search).gpus == each
