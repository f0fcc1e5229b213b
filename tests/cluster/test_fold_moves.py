"""A training of an ensemble, as a Ray task, whose host dies."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.processes import Process
from tests.support.virtual_nodes import ROOT, Nodes
from trainables import checkpoint

#: Seconds that a checkpoint claims to have taken: what goes on from it has them, what begins anew has not.
MARK = 1e6
DRIVER = """
import sys
from pathlib import Path
import ray
from orchestrator.cluster.resources import TrialResources
from orchestrator.ensemble.tasks import TaskPool
from orchestrator.storage.storage import Storage
from trainables.data import prepare, read_manifest
from trainables.held_out import Job

address, images, folder = sys.argv[1], Path(sys.argv[2]), Path.cwd()
config = {
    "architecture": "unet", "encoder": "", "dropout": 0.0, "loss": "dice_bce", "loss_weight": 0.5, "lr": 1e-3,
    "optimizer": "adamw", "weight_decay": 0.0, "batch_size": 8, "augmentation": "none", "balance": "none", "ema": 0.0,
    "freeze_epochs": 0, "warmup_epochs": 0, "epochs": 1_000_000, "seed": 0,
}
data = prepare(read_manifest(images), folder / "cache", size=64)
job = Job(folder / "fold-1", "seg", config, fold=1)
ray.init(address, log_to_driver=False)
workers = TaskPool(TrialResources(1, 1, 0), folder / "predictions", Storage(folder))
workers.train({"one": job}, {"one": data}, {"one": None}, print)
"""


@pytest.mark.long
def test_a_fold_whose_host_dies_goes_on_elsewhere(phantom: Path, tmp_path: Path) -> None:
    with closing(Nodes()) as nodes:
        first = nodes.add()
        command = [sys.executable, "-c", DRIVER, nodes.address, str(phantom)]
        described = tmp_path / "fold-1.part" / checkpoint.DESCRIPTION

        def seconds() -> float:
            """What its last checkpoint says that it has taken; 0 while there is none."""
            try:
                return float(json.loads(described.read_text())["best"]["seconds"])
            except (FileNotFoundError, ValueError):
                return 0.0

        with Process(command, tmp_path, {"PYTHONPATH": str(ROOT)}, tmp_path / "output.txt") as driver:
            driver.until(seconds)
            nodes.kill(first)
            driver.until(lambda: "waiting for workers: no host is left" in driver.output)
            before = seconds()
            said = json.loads(described.read_text())
            said["best"]["seconds"] += MARK
            described.write_text(json.dumps(said))
            nodes.add()
            driver.until(lambda: seconds() not in (0.0, before + MARK))
    assert seconds() > before + MARK
