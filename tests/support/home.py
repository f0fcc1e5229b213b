"""A folder with real searches of all tasks on a phantom, each with its ensemble and a champion."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import yaml

from orchestrator import run_search
from orchestrator.ensemble.result import EnsembleResult
from orchestrator.ensemble.run import run_ensemble

SMALL: dict[str, Any] = {"trials": 2, "epochs": 4, "image_size": 64, "batch_size": 8, "folds": 3, "boost_rounds": 1}
ARCH = {"seg": ("smp_unet",), "cls": ("tf_efficientnet_lite0",), "multi": ("smp_unet",)}


class Home:
    """A folder with a store and searches."""

    def __init__(self, folder: Path, phantom: Path) -> None:
        self.folder, self.phantom = folder, phantom
        self.uri = f"sqlite:///{folder}/mlflow.db"
        self.first: dict[str, dict[str, Any]] = {}

    def search(self, task: str, **fields: Any) -> dict[str, Any]:
        where = {"storage": self.folder / "runs", "tracking_uri": self.uri, "data": self.phantom}
        return run_search(task=task, arch=ARCH[task], name=task, **{**SMALL, **where, **fields})

    def ensemble(self, task: str, **fields: Any) -> EnsembleResult:
        return run_ensemble(task=task, storage=self.folder / "runs", tracking_uri=self.uri, **fields)

    def champion(self, task: str) -> None:
        """Make its winner the champion whatever the rule says of models that learned for seconds."""
        self.first[task] = self.found(task)
        self.ensemble(task, name=task, boost_rounds=1, promote="always")

    def found(self, task: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "runs" / task / "ensemble.json").read_text())
        return found

    def trained(self) -> dict[str, int]:
        """When each model of a fold that is trained was written; one in training has a longer name."""
        files = (self.folder / "runs").glob("**/fold-?/best.safetensors")
        return {str(file.relative_to(self.folder)): file.stat().st_mtime_ns for file in files}

    def copied(self, folder: Path, **changes: str) -> Path:
        """The storage without its weights, in `folder`, with other settings of the searches."""
        heavy = shutil.ignore_patterns("*.safetensors", "tune", "folds", "predictions", "pictures")
        storage = shutil.copytree(self.folder / "runs", folder / "runs", ignore=heavy)
        for file in storage.glob("*/settings.yaml"):
            file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), **changes}))
        return storage
