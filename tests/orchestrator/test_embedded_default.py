"""What `make search` runs: synthetic data, its own defaults, and a model that has learned what a lesion is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.baselines import grey_threshold_dice
from tests.support.checkpoints import load_model
from trainables.data import prepare, read_manifest
from trainables.inference import predict
from trainables.metrics.seg import SegmentationMetrics

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def test_best_trial_segments_held_out_phantoms_that_a_threshold_cannot(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k not in ("MLFLOW_TRACKING_URI", "RAY_ADDRESS")}
    command = [sys.executable, "-m", "orchestrator.search", "--task", "seg"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("SYNTHETIC") == 3  # where the data are found, over the leaderboard, at the ensemble

    (file,) = (tmp_path / "runs").glob("*/summary.json")
    summary = json.loads(file.read_text())
    (root,) = (tmp_path / "runs" / ".cache").glob("phantom-*")
    data = prepare(read_manifest(root), tmp_path / "runs" / ".cache", size=96, folds=3)
    assert data.data_fingerprint == summary["data"]["fingerprint"]
    test, learnt = data.test_rows(), data.fold_rows(0)[0]
    model, description = load_model(Path(summary["best"]["checkpoint"]))
    assert not {data.digests[row][:16] for row in test} & set(description["trained_on"])
    metrics = SegmentationMetrics()
    metrics.update(predict(model, data.images[test]), torch.from_numpy(np.array(data.masks[test]))[:, None])
    assert metrics.compute()["dice"] >= 0.80
    baseline = grey_threshold_dice(data.images[learnt], data.masks[learnt], data.images[test], data.masks[test])
    assert baseline <= 0.45

    ensemble = json.loads((file.parent / "ensemble.json").read_text())
    assert len(ensemble["candidates"]) == 2
    assert len(ensemble["boost_rounds"]) == 1
    assert ensemble["test"]["times_scored"] == 1
    assert ensemble["test"]["value"] >= 0.80
    # How fast the machine is decides which trials fit, and one of 7 normal test images whether it may be champion.
    assert ensemble["promoted"] or "of the normal images" in ensemble["why_promoted"]
