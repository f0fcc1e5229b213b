"""The whole search, with a real Ray and a real MLflow store: what it leaves behind, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import optuna
import pytest
from mlflow import MlflowClient
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from PIL import Image

from orchestrator import run_search
from orchestrator.common.errors import UserError
from orchestrator.tuning.summary import SearchSummary
from tests.support.checkpoints import load_model

pytestmark = pytest.mark.slow

SIZE: dict[str, Any] = {"image_size": 64, "batch_size": 8, "ensemble": False}
TINY: dict[str, Any] = {"arch": ("unet", "smp_unet"), "trials": 3, "epochs": 2, **SIZE}
FLAGS = ["--arch", "unet", "--trials", "2", "--image-size", "64", "--batch-size", "8", "--seed", "1", "--no-ensemble"]


def _command(folder: Path, *argv: str) -> list[str]:
    return [sys.executable, "-m", "orchestrator.search", "--storage", str(folder / "runs"), *argv]


def _environment(folder: Path) -> dict[str, str]:
    inherited = {k: v for k, v in os.environ.items() if k not in ("MLFLOW_TRACKING_URI", "RAY_ADDRESS")}
    return {**inherited, "OMP_NUM_THREADS": "1", "HOME": str(folder)}


@pytest.fixture(scope="module")
def finished(
    phantom: Path, tmp_path_factory: pytest.TempPathFactory, ray_local: None
) -> tuple[SearchSummary, Path, MlflowClient]:
    folder = tmp_path_factory.mktemp("a search with spaces")
    uri = f"sqlite:///{folder}/mlflow.db"
    summary = run_search(data=phantom, name="tiny one", storage=folder / "runs", tracking_uri=uri, **TINY)
    return summary, folder, MlflowClient(uri)


def test_summary_holds_what_was_found(finished: tuple[SearchSummary, Path, MlflowClient]) -> None:
    summary, folder, _ = finished
    file = folder / "runs" / "tiny one" / "summary.json"
    assert summary == SearchSummary.read(file)
    stored = json.loads(file.read_text())
    assert stored["best"] == next(row for row in stored["trials"] if row["trial_id"] == summary.best.trial_id)
    assert summary.trials_frame()["name"][0] == summary.best.name
    assert summary.status == "done"
    assert {"fingerprint", "source", "images", "groups", "split_sizes", "left_out"} <= set(stored["data"])
    assert summary.data.synthetic
    assert sum(summary.data.split_sizes.values()) == summary.data.images == 40
    assert len(summary.trials) == 3
    for trial in summary.trials:
        assert trial.mlflow_run_id
        assert 0 < trial.train_seconds <= trial.seconds
    assert summary.best.metric == max(trial.metric for trial in summary.trials)
    assert 0 < summary.efficiency <= 1
    assert summary.slots >= 1


def test_mlflow_holds_one_closed_run_a_trial_under_the_search(
    finished: tuple[SearchSummary, Path, MlflowClient],
) -> None:
    summary, _, client = finished
    experiment = client.get_experiment_by_name("breast-ultrasound-seg")
    runs = client.search_runs([experiment.experiment_id])
    parents = [run for run in runs if run.data.tags["kind"] == "search"]
    children = {run.info.run_id: run for run in runs if run.data.tags["kind"] == "trial"}
    assert len(parents) == 1
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert set(children) == {trial.mlflow_run_id for trial in summary.trials}
    assert parents[0].data.params["image_size"] == "64"
    for trial in summary.trials:
        run = children[trial.mlflow_run_id]
        assert run.data.tags["mlflow.parentRunId"] == parents[0].info.run_id
        assert run.data.tags["data_fingerprint"] == summary.data.fingerprint
        assert run.data.tags["architecture"] == run.data.params["architecture"] == trial.architecture
        assert run.data.tags["synthetic"] == "true"
        assert not [name for name in run.data.params if "." in name]
        best = client.get_metric_history(run.info.run_id, "best/dice")
        assert [point.step for point in best] == list(range(1, trial.epochs + 1))
        assert best[-1].value == pytest.approx(trial.metric)
        assert [p.value for p in best] == sorted(p.value for p in best)


def test_every_trial_has_pictures(finished: tuple[SearchSummary, Path, MlflowClient]) -> None:
    summary, _, client = finished
    for trial in summary.trials:
        files = {Path(file.path).stem for file in client.list_artifacts(trial.mlflow_run_id, "validation")}
        assert files == {"predictions", "worst_cases", "pixel_confusion"}
    best = summary.best.mlflow_run_id
    picture = Image.open(client.download_artifacts(best, "validation/predictions.png"))
    assert picture.mode == "RGB"
    assert picture.width == 4 * 256
    legend = picture.crop((picture.width // 2, 0, picture.width, 20))
    assert (230, 140, 0) in {colour for _, colour in legend.getcolors(100_000)}  # it says that the data are synthetic


def test_best_checkpoint_scores_what_was_reported(
    finished: tuple[SearchSummary, Path, MlflowClient], phantom: Path
) -> None:
    import numpy as np

    from trainables.data import prepare, read_manifest
    from trainables.inference import predict
    from trainables.metrics.seg import SegmentationMetrics

    summary, folder, _ = finished
    model, description = load_model(summary.best.checkpoint)
    data = prepare(read_manifest(phantom), folder / "runs" / ".cache", size=64)
    rows = data.fold_rows(0)[1]
    metrics = SegmentationMetrics()
    import torch

    metrics.update(predict(model, data.images[rows]), torch.from_numpy(np.array(data.masks[rows]))[:, None])
    assert metrics.compute()["dice"] == pytest.approx(summary.best.metric, abs=1e-4)
    assert description["data_fingerprint"] == summary.data.fingerprint


def test_study_is_a_journal_that_optuna_opens(finished: tuple[SearchSummary, Path, MlflowClient]) -> None:
    summary, folder, _ = finished
    file = folder / "runs" / "tiny one" / "study.journal"
    study = optuna.load_study(study_name="tiny one", storage=JournalStorage(JournalFileBackend(str(file))))
    assert sorted(t.value for t in study.trials) == pytest.approx(sorted(t.metric for t in summary.trials))
    assert study.trials[0].params["architecture"] == "smp_unet"  # the house default comes first


def test_existing_name_is_refused(finished: tuple[SearchSummary, Path, MlflowClient], phantom: Path) -> None:
    _, folder, _ = finished
    with pytest.raises(UserError, match="exists already"):
        run_search(data=phantom, name="tiny one", storage=folder / "runs", **TINY)


def test_leaderboard_shows_the_search(finished: tuple[SearchSummary, Path, MlflowClient]) -> None:
    summary, folder, _ = finished
    command = [sys.executable, "-m", "orchestrator.leaderboard", "--json"]
    done = subprocess.run(command, cwd=folder, env=_environment(folder), capture_output=True, text=True, check=True)
    rows = json.loads(done.stdout)
    assert rows[0]["rank"] == 1
    assert rows[0]["best"] == pytest.approx(summary.best.metric)
    assert len(rows) == 3


def _in_mlflow(client: MlflowClient) -> dict[str, Any]:
    """All that a search may have doubled: runs, points, inputs, pictures, models."""
    ids = [client.get_experiment_by_name("breast-ultrasound-seg").experiment_id]
    found: dict[str, Any] = {"models": {one.model_id for one in client.search_logged_models(ids)}}
    for run in client.search_runs(ids, "tags.kind = 'trial'"):
        points = {name: len(client.get_metric_history(run.info.run_id, name)) for name in run.data.metrics}
        files = client.list_artifacts(run.info.run_id, "validation")
        found[run.info.run_id] = points, len(run.inputs.dataset_inputs), sorted(file.path for file in files)
    return found


def test_resumed_with_nothing_left_doubles_nothing(
    finished: tuple[SearchSummary, Path, MlflowClient], phantom: Path
) -> None:
    _, folder, client = finished
    home = folder / "runs" / "tiny one"
    before, drawn = _in_mlflow(client), {file: file.stat().st_mtime_ns for file in home.glob("pictures/*/*.png")}
    assert len(before) == 1 + 3
    assert len(before["models"]) == 3
    assert {inputs for _, inputs, _ in list(before.values())[1:]} == {1}
    run_search(resume="tiny one", storage=folder / "runs", data=phantom)
    assert _in_mlflow(client) == before
    assert {file: file.stat().st_mtime_ns for file in home.glob("pictures/*/*.png")} == drawn


def test_command_prints_plain_lines_and_no_noise_from_any_directory(phantom: Path, tmp_path: Path) -> None:
    folder = tmp_path / "somewhere else"
    folder.mkdir()
    flags = [*FLAGS, "--data", os.path.relpath(phantom, folder), "--name", "plain", "--epochs", "1"]
    done = subprocess.run(
        _command(folder, *flags), cwd=folder, env=_environment(folder), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert len([line for line in lines if line.startswith("trial ")]) == 2
    assert any(line.startswith("SYNTHETIC") for line in lines)
    noise = ("ray", "optuna", "alembic", "albumentations", "warning", "info", "deprecat")
    assert not [line for line in lines if line.lower().lstrip("[").startswith(noise)]
    assert (folder / "mlflow.db").is_file()
    assert "mlflow ui --backend-store-uri" in done.stdout


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--data", "nowhere"], "no such folder"),
        (["--data", "empty"], "no usable image found"),
        (["--data", "DATA", "--layout", "classes", "--epochs", "1"], "segmentation needs masks"),
        (["--data", "DATA", "--strict", "--epochs", "1"], "--strict: 1 faults"),
        (["--data", "DATA", "--arch", "vgg"], "choose from unet"),
        (["--data", "DATA", "--tracking-uri", "http://127.0.0.1:9", "--epochs", "1"], "127.0.0.1:9"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(argv: list[str], expected: str, phantom: Path, tmp_path: Path) -> None:
    import shutil

    (tmp_path / "empty").mkdir()
    damaged = tmp_path / "parent" / "of" / "damaged"
    shutil.copytree(phantom, damaged)
    (damaged / "benign" / "broken.png").write_bytes(b"")
    argv = [str(damaged) if word == "DATA" else word for word in argv]
    done = subprocess.run(
        _command(tmp_path, *FLAGS, *argv), cwd=tmp_path, env=_environment(tmp_path), capture_output=True, text=True
    )
    assert done.returncode == 2
    assert expected in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stdout + done.stderr


def _interrupted(phantom: Path, folder: Path, *, times: int) -> str:
    """The output of a search that is interrupted after its first epoch; every run it began must be closed."""
    flags = [*FLAGS, "--data", str(phantom), "--name", "stopped", "--epochs", "2000"]
    with subprocess.Popen(
        _command(folder, *flags),
        cwd=folder,
        env=_environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        _wait_for_epochs(folder / "mlflow.db", process)
        for _ in range(times):
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does: every process of the group hears it
            time.sleep(0.2)  # two presses, not one: signals that wait for delivery are merged
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 130, output
    assert "Traceback" not in output
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("breast-ultrasound-seg").experiment_id])
    kind = {run.info.run_id: run.data.tags["kind"] for run in runs}
    assert {run.info.status for run in runs if kind[run.info.run_id] == "search"} == {"KILLED"}
    assert {run.info.status for run in runs} <= {"KILLED", "FINISHED"}  # some may have come to a rung
    return output


@pytest.mark.long
def test_second_interrupt_stops_at_once(phantom: Path, tmp_path: Path) -> None:
    assert "again to stop at once" in _interrupted(phantom, tmp_path, times=2)


def test_interrupt_stops_cleanly(phantom: Path, tmp_path: Path) -> None:
    assert "mlflow ui" in _interrupted(phantom, tmp_path, times=1)
    summary = SearchSummary.read(tmp_path / "runs" / "stopped" / "summary.json")
    assert summary.status == "interrupted"
    assert "interrupted" in {trial.status for trial in summary.trials} <= {"interrupted", "asha"}
    load_model(summary.best.checkpoint)


def _wait_for_epochs(database: Path, process: subprocess.Popen) -> None:
    """Until MLflow holds an epoch of a trial."""
    import sqlite3

    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if database.exists():
            try:
                with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as store:
                    if store.execute("select count(*) from metrics where key = 'best/dice'").fetchone()[0]:
                        return
            except sqlite3.OperationalError:
                pass
        time.sleep(0.2)
    pytest.fail("no epoch reached MLflow")
