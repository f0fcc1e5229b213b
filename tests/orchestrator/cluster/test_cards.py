"""GPUs are tried out before anything is trained: here Ray counts one that is not there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from orchestrator.cluster import cards
from trainables.devices import Card

ROOT = Path(__file__).resolve().parents[3]
SEARCH = """
import sys
import ray
from orchestrator.search import main
ray.init(num_cpus=2, num_gpus=1, include_dashboard=False, log_to_driver=False)
sys.exit(main(["--data", sys.argv[1], "--image-size", "32", "--arch", "unet", "--epochs", "1", "--trials", "1"]))
"""


def test_the_smallest_card_and_the_slow_ones() -> None:
    found = {"a": [Card("H100", 80, True), Card("T4", 16, False)], "b": [Card("T4", 15, False)]}
    assert cards.least_memory(found) == 15
    assert cards.notes(found) == ["T4: no bfloat16 of its own, so it trains in float32, slower and with more memory"]
    assert cards.least_memory({}) is None


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_search_on_a_gpu_that_torch_cannot_use_ends_in_one_line(phantom: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", SEARCH, str(phantom)]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 2
    assert "cannot be used by torch" in last
    assert "Traceback" not in done.stderr
