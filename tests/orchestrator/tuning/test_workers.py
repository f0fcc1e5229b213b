"""Workers: as many as there are slots, all of them used, and kept from trial to trial."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from tests.support.searches import Search

pytestmark = pytest.mark.slow


def test_trials_shorter_than_a_worker_s_start_use_every_slot_and_no_more_workers(
    phantom: Path, empty_store: Path, tmp_path: Path
) -> None:
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    flags = ["--data", str(phantom), "--image-size", "64", "--epochs", "6", "--weights", "none", "--arch", "unet"]
    search = Search(tmp_path, "two slots", [*flags, "--trials", "8", "--max-concurrent", "2", "--cpus-per-trial", "1"])
    with search.begin(SURROGATE_SECONDS="0.1") as launch:
        launch.end()

    trained = Counter(line.pid for line in search.epochs())
    assert len(trained) == 2
    at_once, most = 0, 0
    for event in search.events("started", "ended"):
        at_once += 1 if event["event"] == "started" else -1
        most = max(most, at_once)
    assert most == 2
