"""The lower bounds in pyproject.toml are true: with just these versions the fast tests pass."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def uv(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """uv, on the path or beside this Python, with the indexes that pip is told of."""
    found = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if not found:
        pytest.skip("uv is not installed (extra: dev)")
    return subprocess.run([found, *map(str, words)], capture_output=True, text=True)


@pytest.mark.long
@pytest.mark.timeout(5400)
def test_fast_tests_pass_with_the_lowest_versions(tmp_path: Path) -> None:
    python = tmp_path / "lowest" / ("Scripts" if os.name == "nt" else "bin") / "python"
    assert uv("venv", "--python", sys.executable, python.parents[1]).returncode == 0
    # What tests themselves need is as it is pinned: its own lower bounds are of no account.
    tools = ("pytest", "pytest-timeout", "pytest-xdist", "hypothesis", "import-linter", "nbformat", "nbclient")
    extras = f"{ROOT}[offline,data]"
    installed = uv("pip", "install", "--python", python, "--resolution", "lowest-direct", extras, *tools_pins(tools))
    if "error sending request" in installed.stderr.lower() or "failed to fetch" in installed.stderr.lower():
        pytest.skip("no package index answers")
    assert installed.returncode == 0, installed.stderr
    command = [python, "-m", "pytest", "-n", "1", "-m", "not slow and not long", f"--basetemp={tmp_path / 'tests'}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:]


def tools_pins(names: tuple[str, ...]) -> list[str]:
    """The lines of constraints.txt of these packages."""
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    return [f"{name}=={pins[name]}" for name in names]
