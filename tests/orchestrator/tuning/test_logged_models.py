"""The best trials as MLflow's models: real ones, with the metrics of the epoch that their weights are of."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import mlflow
import pandas as pd
import pytest
from mlflow import MlflowClient

from orchestrator.storage.storage import Storage
from orchestrator.tuning.logged_models import log_best
from orchestrator.tuning.summary import SearchSummary, TrialSummary
from trainables.data import CLASSES

if TYPE_CHECKING:
    from tests.support.home import Home

pytestmark = pytest.mark.slow


def _rows(home: Home, task: str) -> tuple[TrialSummary, ...]:
    return SearchSummary.read(home.folder / "runs" / task / "summary.json").trials


def _run(uri: str, folder: Path, storage: Path) -> Any:
    settings = SimpleNamespace(tracking_uri=uri, folder=folder)
    data = SimpleNamespace(keep_aspect=False, synthetic=True)
    return SimpleNamespace(settings=settings, storage=Storage(storage), data=data)


@pytest.mark.parametrize("task", ["seg", "cls", "multi"])
def test_models_predict_and_carry_metrics_and_data(home: Home, task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    client, rows = MlflowClient(home.uri), _rows(home, task)
    experiment = client.get_experiment_by_name(f"breast-ultrasound-{task}")
    models = client.search_logged_models([experiment.experiment_id])
    by_run = {model.source_run_id: model for model in models}
    assert {row.mlflow_run_id for row in rows} == set(by_run)
    assert len(models) == len(rows)
    for row in rows:
        model, run = by_run[row.mlflow_run_id], client.get_run(row.mlflow_run_id)
        assert model.status == "READY"
        assert model.params["architecture"] == row.architecture
        described = json.loads((row.checkpoint / "model.json").read_text())
        metrics = {metric.key: metric for metric in model.metrics}
        primary = run.data.tags["primary"]
        assert metrics[f"best/{primary}"].value == pytest.approx(row.metric)
        for name, value in described["best"]["metrics"].items():
            assert metrics[f"val/{name}"].value == pytest.approx(value), "of the epoch of the weights"
        (given,) = run.inputs.dataset_inputs
        assert {(one.dataset_name, one.dataset_digest) for one in metrics.values()} == {
            (given.dataset.name, given.dataset.digest)
        }
        for name in metrics:
            steps = [point.step for point in client.get_metric_history(run.info.run_id, name)]
            assert len(steps) == len(set(steps)), "the run's own points are not doubled"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", home.uri)
    loaded = mlflow.pyfunc.load_model(f"models:/{by_run[rows[0].mlflow_run_id].model_id}")
    images = sorted((home.phantom / "malignant").glob("malignant (?).png"))[:2]
    said = loaded.predict(pd.DataFrame({"image": [image.read_bytes() for image in images]}))
    assert len(said) == 2
    if task != "seg":
        assert said[[f"probability_{name}" for name in CLASSES]].sum(axis=1).tolist() == pytest.approx([1, 1])
    if task != "cls":
        assert said["mask_png"].str.len().min() > 20


def test_a_model_is_logged_once(home: Home) -> None:
    rows = _rows(home, "cls")
    client = MlflowClient(home.uri)
    ids = [client.get_experiment_by_name("breast-ultrasound-cls").experiment_id]
    before = {model.model_id for model in client.search_logged_models(ids)}
    cut_off = client.create_logged_model(ids[0], name="cut off", source_run_id=rows[0].mlflow_run_id)
    assert log_best(_run(home.uri, home.folder / "runs" / "cls", home.folder / "runs"), rows) == 0
    after = {model.model_id for model in client.search_logged_models(ids)}
    assert cut_off.model_id not in after, "what a crash cut off is deleted"
    assert after == before


def test_without_weights_there_is_no_model(home: Home, tmp_path: Path) -> None:
    rows = [row.model_copy(update={"checkpoint": tmp_path}) for row in _rows(home, "cls")]
    assert log_best(_run("sqlite:///nowhere/absent.db", tmp_path, tmp_path), rows) == 0
