"""Pictures of every trial: drawn by workers, once; a broken checkpoint or an interrupt costs no more than its own."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
import ray
from mlflow import MlflowClient
from rich.console import Console

from orchestrator.cluster.resources import TrialResources
from orchestrator.common.console import shown_on
from orchestrator.config import loading
from orchestrator.ensemble.candidates import search_settings
from orchestrator.storage.storage import Storage
from orchestrator.tuning import log_figures
from orchestrator.tuning.log_figures import LOGGED, log_all
from orchestrator.tuning.logged_models import log_best
from orchestrator.tuning.summary import SearchSummary, TrialSummary, best_first
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

    def log_picture(self, trial_id: str, file: Path, artifact_path: str, step: int) -> None:
        self.pictures.append((trial_id, file.name))

    def log(self, trial_id: str, metrics: dict[str, float], step: int) -> None:
        self.metrics[trial_id] = metrics


def _trials(home: Home, task: str) -> tuple[TrialSummary, ...]:
    return SearchSummary.read(home.folder / "runs" / task / "summary.json").trials


def _run(**values: Any) -> Any:
    files = SimpleNamespace(pictures=values.pop("pictures"))
    share = TrialResources(slots=1, cpus=1, gpus=0.0)
    return SimpleNamespace(settings=SimpleNamespace(files=files), share=share, **values)


@pytest.mark.parametrize("task", ["seg", "cls", "multi"])
def test_every_trial_with_a_checkpoint_has_pictures_in_its_run(home: Home, task: str) -> None:
    client = MlflowClient(home.uri)
    rows = [row for row in _trials(home, task) if row.checkpoint]
    assert len(rows) == 2
    for row in rows:
        names = {Path(file.path).stem for file in client.list_artifacts(row.mlflow_run_id, "validation")}
        keyed = [file.path for file in client.list_artifacts(row.mlflow_run_id, "images")]
        assert any(f"+step+{row.epochs}+" in path for path in keyed), "the UI compares pictures of a key and step"
        assert EXPECTED[task] <= names <= EXPECTED[task] | {"worst_cases"}
        folder = home.folder / "runs" / task / "pictures" / row.trial_id
        assert {file.stem for file in folder.glob("*.png")} == names
        assert (folder / LOGGED).exists()
        metrics = client.get_run(row.mlflow_run_id).data.metrics
        if task != "cls":
            for name in ("dice", "hd95", "pixels_tp"):
                (point,) = client.get_metric_history(row.mlflow_run_id, f"original_size/{name}")
                assert point.value == metrics[f"original_size/{name}"] == drawn(folder, row.checkpoint)[name]


def test_drawn_once_and_one_that_fails_is_left_out(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    data, _ = loading.read(search_settings(home.folder / "runs", "seg"))
    (good, folder), (other, _) = best_first(_trials(home, "seg"), Storage(home.folder / "runs"))
    broken = shutil.copytree(folder, tmp_path / "tune" / "trial" / "checkpoint_000000")
    (broken / "best.safetensors").write_bytes(b"no weights")
    gone = good.model_copy(update={"trial_id": "gone", "checkpoint": tmp_path / "gone"})
    rows = [other.model_copy(update={"metric": 0.9, "name": "broken one", "checkpoint": broken}), gone, good]
    out = tmp_path / "pictures"
    run = _run(pictures=out, data=data, task=make_task("seg"), storage=Storage(tmp_path))

    def log_them(given: list[TrialSummary]) -> tuple[list[Path], Notes, str]:
        notes, said = Notes(), io.StringIO()
        tracker: Any = notes
        with shown_on(Console(file=said)):
            shown = log_all(run, given, tracker)
        return shown, notes, said.getvalue()

    shown, notes, _ = log_them(rows)
    home_of_good = out / good.trial_id
    assert shown == [home_of_good]
    assert {name for _, name in notes.pictures} == {f"{name}.png" for name in EXPECTED["seg"]}
    assert notes.metrics[good.trial_id]["original_size/dice"] > 0
    assert [message for message in caplog.messages if "broken one" in message]
    assert sorted(path.name for path in out.iterdir()) == [good.trial_id], "nothing half-drawn is left"

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
    run, nobody = _run(pictures=tmp_path, storage=Storage(tmp_path, "s3://bucket/runs")), cast(Any, None)
    if which == "pictures":
        assert log_all(run, [], nobody) == []
    else:
        assert log_best(run, []) == 0
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
