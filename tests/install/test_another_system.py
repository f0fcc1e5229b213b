"""Where there is no fcntl, no affinity, no SIGHUP and no SIGPIPE, as on Windows, the commands work all the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.support.another_system import environment
from tests.support.products import pictures, small_product

TINY = ["--arch", "unet", "--trials", "1", "--epochs", "1", "--image-size", "64", "--no-ensemble", "--name", "one"]


@pytest.mark.slow
def test_search_leaderboard_predict_and_evaluate(tmp_path: Path, phantom: Path) -> None:
    product = small_product(tmp_path / "product", "seg", networks=1)
    Image.fromarray(pictures(1)[0]).save(tmp_path / "a.png")
    (tmp_path / "hidden").mkdir()
    hidden = environment(tmp_path / "hidden")

    def run(*words: str | Path) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "orchestrator", *map(str, words)],
            cwd=tmp_path,
            env=hidden,
            capture_output=True,
            text=True,
            timeout=500,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("search", "--task", "seg", *TINY)
    assert not (tmp_path / "runs" / "one" / "lock").exists()
    assert "#1 unet" in run("leaderboard")
    run("predict", "--task", "seg", "--model", product, "--out", "out", "a.png")
    assert (tmp_path / "out" / "masks" / "a.png").is_file()
    run("evaluate", "--model", product, "--data", phantom)
    assert (tmp_path / "evaluation.html").is_file()
