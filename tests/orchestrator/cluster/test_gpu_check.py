"""`make gpu-check`, in its short form on a CPU: every line that needs a GPU is named as not seen."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.slow
def test_on_a_cpu_it_searches_and_names_what_it_has_not_seen(phantom: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.gpu_check", "--device", "cpu", "--data", str(phantom)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = {line["what"]: line for line in json.loads((tmp_path / "gpu-check.json").read_text())["lines"]}
    seen = {"card": None, "tests": None, "input": None, "packing": None, "search": True}
    assert {what: line["works"] for what, line in found.items()} == seen
    assert found["search"]["figures"]["dice"] >= 0
    for what, line in found.items():
        assert f"- {what}: {line['said']}." in done.stdout
