"""Classification and multi-task go through the same rooms as segmentation."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlflow import MlflowClient

from orchestrator import run_search
from orchestrator.tracking.ranking import rank, read_trials
from orchestrator.tuning.summary import SearchSummary
from search_spaces import recipes
from trainables.models.weights import Source

pytestmark = pytest.mark.slow

TINY: dict[str, Any] = {"trials": 2, "epochs": 2, "image_size": 64, "batch_size": 8, "seed": 2, "ensemble": False}
LITE = {"cls": "tf_efficientnet_lite0", "multi": "smp_unet"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, ray_local: None) -> Path:
    return tmp_path_factory.mktemp("tasks")


def _search(store: Path, **fields: Any) -> SearchSummary:
    return run_search(storage=store / "runs", tracking_uri=f"sqlite:///{store}/mlflow.db", **{**TINY, **fields})


@pytest.mark.parametrize(("task", "primary"), [("cls", "auroc"), ("multi", "score")])
def test_search(task: str, primary: str, phantom: Path, store: Path) -> None:
    summary = _search(store, task=task, data=phantom, arch=(LITE[task],), name=f"{task} tiny")
    assert summary.status == "done"
    assert summary.metric == primary
    assert all(0 <= trial.metric <= 1 for trial in summary.trials)
    client = MlflowClient(f"sqlite:///{store}/mlflow.db")
    run = client.get_run(summary.best.mlflow_run_id)
    assert run.info.status == "FINISHED"
    names = {file.path for file in client.list_artifacts(run.info.run_id, "validation")}
    assert {f"validation/{name}.png" for name in ("confusion", "roc", "precision_recall")} <= names
    assert {"val/accuracy", "val/auroc", "val/ece", "val/f1_malignant", f"best/{primary}"} <= set(run.data.metrics)
    if task == "multi":
        assert "validation/predictions.png" in names
        assert {"val/dice", "val/miou", "original_size/hd95"} <= set(run.data.metrics)


def test_two_classes_leave_normals_out_and_keep_the_split(phantom: Path, store: Path) -> None:
    three = _search(store, task="cls", data=phantom, arch=("resnet18",), weights="none", name="three", trials=1)
    two = _search(store, task="cls", data=phantom, arch=("resnet18",), weights="none", name="two", trials=1, classes=2)
    assert two.data.fingerprint == three.data.fingerprint
    client = MlflowClient(f"sqlite:///{store}/mlflow.db")
    metrics = client.get_run(two.best.mlflow_run_id).data.metrics
    assert "val/f1_benign" in metrics
    assert "val/f1_normal" not in metrics


@pytest.mark.parametrize("task", ["seg", "cls"])
def test_recipes_only_trains_exactly_those(task: str, phantom: Path, store: Path) -> None:
    summary = _search(
        store,
        task=task,
        data=phantom,
        recipes_only=True,
        batch_size=None,
        epochs=1,
        image_size=32,
        name=f"recipes {task}",
        weights="none",
    )
    assert sorted(trial.recipe for trial in summary.trials) == sorted(recipes.names(task))
    assert {trial.status for trial in summary.trials} == {"completed"}


def test_class_folders_without_masks(phantom: Path, store: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    shutil.copytree(phantom, plain, ignore=shutil.ignore_patterns("*_mask*", "*.txt"))
    summary = _search(store, task="cls", data=plain, arch=("resnet18",), weights="none", name="plain", trials=1)
    assert summary.status == "done"


def test_table_with_its_own_split(phantom: Path, store: Path, tmp_path: Path) -> None:
    rows = []
    for folder in sorted(folder for folder in phantom.iterdir() if folder.is_dir()):
        images = sorted(file for file in folder.iterdir() if "_mask" not in file.stem)
        for number, image in enumerate(images):
            masks = ";".join(str(file) for file in sorted(folder.glob(f"{image.stem}_mask*")))
            split = "test" if number % 4 == 0 else "validation" if number % 4 == 1 else "train"
            rows.append({"image": str(image), "mask": masks, "label": folder.name, "split": split})
    table = tmp_path / "table.csv"
    pd.DataFrame(rows).to_csv(table, index=False)
    summary = _search(store, task="multi", data=table, arch=("smp_unet",), name="table", trials=1)
    given = pd.DataFrame(rows)["split"].value_counts()
    assert summary.data.split_sizes == {name: given[name] for name in ("train", "validation", "test")}


def test_trial_that_fails_in_its_set_up_is_a_failed_run(
    phantom: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Weights that the driver finds and a worker cannot read, as on another node.
    gone = Source("folder", str(store / "gone.safetensors"), (0.5,) * 3, (0.5,) * 3)
    monkeypatch.setattr("orchestrator.tuning.plan.find", lambda encoder, choice: gone)
    summary = _search(store, task="cls", data=phantom, arch=("resnet18",), name="gone", trials=1)
    assert summary.status == "failed"
    assert summary.trials[0].status == "failed"
    client = MlflowClient(f"sqlite:///{store}/mlflow.db")
    assert client.get_run(summary.trials[0].mlflow_run_id).info.status == "FAILED"


def test_one_leaderboard_for_all_tasks_never_mixes_them(store: Path) -> None:
    rankings = rank(read_trials(f"sqlite:///{store}/mlflow.db"))
    assert {ranking.task for ranking in rankings} == {"seg", "cls", "multi"}
    for ranking in rankings:
        assert {(row.task, row.data_fingerprint) for row in ranking.ranked} == {
            (ranking.task, ranking.data_fingerprint)
        }
        values = [row.best for row in ranking.ranked]
        assert values == sorted(values, reverse=True)
