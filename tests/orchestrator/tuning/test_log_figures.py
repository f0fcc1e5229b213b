"""Pictures of every trial: drawn by workers, once; a broken checkpoint or an interrupt costs no more than its own."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
import ray
from mlflow import MlflowClient
from rich.console import Console

from orchestrator.cluster.resources import TrialResources
from orchestrator.common.console import shown_on
from orchestrator.config import data as dataset
from orchestrator.ensemble.candidates import search_settings
from orchestrator.storage.storage import Storage
from orchestrator.tuning import log_figures
from orchestrator.tuning.log_figures import LOGGED, log_all
from orchestrator.tuning.logged_models import log_best
from orchestrator.tuning.summary import best_first
from orchestrator.tuning.trial_figures import drawn
from trainables.tasks import make_task

if TYPE_CHECKING:
    from tests.support.home import Home

pytestmark = pytest.mark.slow

EXPECTED = {
    "seg": {"predictions", "worst_cases", "pixel_confusion"},
    "cls": {"confusion", "roc", "precision_recall"},  # worst cases as there are any
    "multi": {"predictions", "worst_cases", "pixel_confusion", "confusion", "roc", "precision_recall"},
}


class Notes:
    """Stands in for the tracker: what it is told."""

    def __init__(self) -> None:
        self.pictures: list[tuple[str, str]] = []
        self.metrics: dict[str, dict[str, float]] = {}

    def adopt(self, trial_id: str) -> None:
        """Nothing to do."""

    def log_picture(self, trial_id: str, file: Path, artifact_path: str) -> None:
        self.pictures.append((trial_id, file.name))

    def log(self, trial_id: str, metrics: dict[str, float], step: int) -> None:
        self.metrics[trial_id] = metrics


def _summary(home: Home, task: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((home.folder / "runs" / task / "summary.json").read_text())
    return found


@pytest.mark.parametrize("task", ["seg", "cls", "multi"])
def test_every_trial_with_a_checkpoint_has_pictures_in_its_run(home: Home, task: str) -> None:
    client, found = MlflowClient(home.uri), _summary(home, task)
    rows = [row for row in found["trials"] if row["checkpoint"]]
    assert len(rows) == 2
    for row in rows:
        names = {Path(file.path).stem for file in client.list_artifacts(row["mlflow_run_id"], "validation")}
        assert EXPECTED[task] <= names <= EXPECTED[task] | {"worst_cases"}
        folder = home.folder / "runs" / task / "pictures" / row["trial_id"]
        assert {file.stem for file in folder.glob("*.png")} == names
        assert (folder / LOGGED).exists()
        metrics = client.get_run(row["mlflow_run_id"]).data.metrics
        if task != "cls":
            for name in ("dice", "hd95", "pixels_tp"):
                (point,) = client.get_metric_history(row["mlflow_run_id"], f"original_size/{name}")
                assert point.value == metrics[f"original_size/{name}"] == drawn(folder, Path(row["checkpoint"]))[name]


def test_drawn_once_and_one_that_fails_is_left_out(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    data, _ = dataset.read(search_settings(home.folder / "runs", "seg"))
    good, other = best_first(_summary(home, "seg")["trials"], Storage(home.folder / "runs"))
    broken = shutil.copytree(good["checkpoint"], tmp_path / "tune" / "trial" / "checkpoint_000000")
    (broken / "best.safetensors").write_bytes(b"no weights")
    gone = {**good, "trial_id": "gone", "checkpoint": str(tmp_path / "gone")}
    rows = [{**other, "metric": 0.9, "name": "broken one", "checkpoint": str(broken)}, gone, good]
    out = tmp_path / "pictures"

    def log_them(given: list[dict[str, Any]]) -> tuple[list[Path], Notes, str]:
        notes, said = Notes(), io.StringIO()
        tracker: Any = notes
        share = TrialResources(slots=1, cpus=1, gpus=0.0)
        where = data, out, share, tracker, Storage(tmp_path)
        with shown_on(Console(file=said)):
            shown = log_all(make_task("seg"), given, *where)
        return shown, notes, said.getvalue()

    shown, notes, _ = log_them(rows)
    home_of_good = out / good["trial_id"]
    assert shown == [home_of_good]
    assert {name for _, name in notes.pictures} == {f"{name}.png" for name in EXPECTED["seg"]}
    assert notes.metrics[good["trial_id"]]["original_size/dice"] > 0
    assert [message for message in caplog.messages if "broken one" in message]
    assert sorted(path.name for path in out.iterdir()) == [good["trial_id"]], "nothing half-drawn is left"

    times = {file: file.stat().st_mtime_ns for file in home_of_good.iterdir()}
    assert log_them([good])[0] == [home_of_good], "MLflow was not said to hold them"
    (home_of_good / LOGGED).touch()
    again, notes, _ = log_them([good])
    assert (again, notes.pictures) == ([], [])
    assert {file: file.stat().st_mtime_ns for file in times} == times, "drawn again"

    def interrupted(tasks: list[Any], timeout: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ray, "wait", interrupted)
    shutil.rmtree(home_of_good)
    shown, _, said = log_them([other, good])
    assert shown == []
    assert said == "pictures left out\n"


@pytest.mark.parametrize("which", ["pictures", "models"])
def test_a_storage_that_stays_away_loses_no_search_that_is_done(
    which: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def gone(storage: Storage) -> None:
        raise OSError("NETWORK_CONNECTION")

    monkeypatch.setattr(Storage, "await_answer", gone)
    rows, storage, given = [{"metric": 0.5, "checkpoint": "x"}], Storage(tmp_path, "s3://bucket/runs"), cast(Any, None)
    if which == "pictures":
        share = TrialResources(1, 1, 0)
        assert log_all(given, rows, given, tmp_path, share, given, storage) == []
    else:
        assert log_best(rows, "", tmp_path, storage, given) == 0
    assert "NETWORK_CONNECTION" in caplog.text


def test_pictures_are_logged_again_in_another_store(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "scores.json").touch()
    (tmp_path / "a" / LOGGED).touch()
    log_figures.log_again(tmp_path)
    assert sorted(file.name for file in tmp_path.rglob("*") if file.is_file()) == ["scores.json"] * 2
    log_figures.log_again(tmp_path / "absent")


def test_a_trial_that_went_on_is_drawn_again(tmp_path: Path) -> None:
    (tmp_path / "scores.json").write_text(
        json.dumps({"checkpoint": "1/abc/checkpoint_000000", "scores": {"dice": 0.5}})
    )
    assert drawn(tmp_path, Path("/moved/runs/a/tune/1/abc/checkpoint_000000")) == {"dice": 0.5}
    assert drawn(tmp_path, Path("/moved/runs/a/tune/2/abc/checkpoint_000001")) is None
    assert drawn(tmp_path / "absent", Path("/a")) is None
    assert log_figures.ARTIFACTS == "validation"
