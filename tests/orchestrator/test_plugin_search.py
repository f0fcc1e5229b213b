"""A network from outside the package, as a user has it: searched, built into an ensemble, predicted with, resumed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from mlflow import MlflowClient

from orchestrator.inference.format import read

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "my_models.py"
SEARCH = ["--trials=2", "--epochs=1", "--image-size=64", "--arch=dilated_net", "--name=own", "--cpus-per-trial=1"]


def run(folder: Path, command: str, *words: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, which knows no plugin yet."""
    line = [sys.executable, "-m", f"orchestrator.{command}", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
    return subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, timeout=400)


@pytest.mark.slow
def test_a_plugin_goes_wherever_its_network_goes(empty_store: Path, tmp_path: Path) -> None:
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    plugin = Path(shutil.copy(EXAMPLE, tmp_path / "my_models.py"))
    digests = {"my_models": sha256(plugin.read_bytes()).hexdigest()}

    done = run(tmp_path, "search", *SEARCH, "--no-ensemble", "--plugin", "my_models.py")
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load((tmp_path / "runs/own/settings.yaml").read_text())["plugins"] == digests
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.get_experiment_by_name("breast-ultrasound-seg")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert len(runs) == 3
    assert {one.data.tags["plugin.my_models"] for one in runs} == set(digests.values())

    built = ["--task", "seg", "--no-out-of-fold", "--top-k", "2", "--boost-rounds", "0", "--export", "model"]
    done = run(tmp_path, "ensemble", *built)  # finds the plugin where it was
    assert done.returncode == 0, done.stderr
    assert read(tmp_path / "model").plugins == digests
    assert not list((tmp_path / "model").rglob("*.py")), "a product brings no code"

    cv2.imwrite(str(tmp_path / "a.png"), np.full((50, 70), 90, np.uint8))
    words = ["--task", "seg", "--model", "model", "--out", "out", "a.png"]
    done = run(tmp_path, "predict", *words)
    assert done.returncode == 2
    assert (
        done.stderr
        == "error: model: it needs the plugin my_models: give --plugin my_models.py, or install its package\n"
    )
    done = run(tmp_path, "predict", *words, "--plugin", "my_models.py")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/predictions.csv").is_file()

    moved = plugin.rename(tmp_path / "elsewhere.py")
    done = run(tmp_path, "search", "--resume", "own", "--trials", "3")
    assert (done.returncode, "my_models.py: No such file" in done.stderr) == (2, True), done.stderr
    (tmp_path / "moved").mkdir()
    plugin = moved.rename(tmp_path / "moved/my_models.py")
    done = run(tmp_path, "search", "--resume", "own", "--trials", "3", "--plugin", "moved/my_models.py")
    assert done.returncode == 0, done.stderr
    plugin.write_text(plugin.read_text() + "\n# changed\n")
    done = run(tmp_path, "search", "--resume", "own", "--trials", "4", "--plugin", "moved/my_models.py")
    assert done.returncode == 2
    assert "error: --resume own: it needs the plugin my_models of SHA-256" in done.stderr
    assert done.stderr.count("\n") == 1
