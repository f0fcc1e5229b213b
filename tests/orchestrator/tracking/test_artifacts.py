"""Where artifacts go: refused at once where they cannot, and found where they moved with the database."""

from __future__ import annotations

import errno
import shutil
import sqlite3
from collections import OrderedDict
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.tracking._tracking_service import utils
from PIL import Image, UnidentifiedImageError

from orchestrator.config.types import TrackingError
from orchestrator.tracking.client import open_store
from orchestrator.tracking.download import downloaded
from orchestrator.tracking.outages import may_pass
from orchestrator.tracking.tracker import Tracker
from tests.support.mlflow_runs import TAGS, begin, trials


class _Refused(Exception):
    """As boto says that a server refused, or did not."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.response = {"ResponseMetadata": {"HTTPStatusCode": status}}


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (PermissionError(errno.EACCES, "denied"), False),
        (NotADirectoryError(errno.ENOTDIR, "a file"), False),
        (OSError(errno.ENOSPC, "full"), True),
        (ConnectionError("refused"), True),
        (MlflowException("it broke"), True),
        (MlflowException.invalid_parameter_value("a bad name"), False),
        (_Refused(403), False),
        (_Refused(429), True),
        (_Refused(503), True),
        (RuntimeError("no credentials"), False),
        (UnidentifiedImageError("no picture"), False),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_lasting_error_is_no_outage(error: Exception, expected: bool) -> None:
    assert may_pass(error) is expected


def _under_a_file(folder: Path) -> str:
    (folder / "file").touch()
    return (folder / "file" / "artifacts").as_uri()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "advice"),
    [
        (lambda folder: "mlflow-artifacts:/", "give --tracking-uri http://HOST:PORT of its server"),
        (_under_a_file, "make that a place to write to"),
        (lambda folder: (folder / "gone" / "mlartifacts").as_uri(), "gone is not there"),
        (lambda folder: "s3://nowhere/artifacts", "choose another experiment with --experiment"),
    ],
    ids=["of a server", "under a file", "in a folder that is gone", "s3"],
)
def test_a_place_that_cannot_be_written_is_one_line_at_the_start(
    store: str, tmp_path: Path, place: Callable[[Path], str], advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    open_store(store, create=True).create_experiment("seg", artifact_location=place(tmp_path))
    with pytest.raises(TrackingError, match=r"^artifacts of experiment seg in sqlite") as caught:
        Tracker(store, "seg")
    assert advice in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "gone").exists()


@pytest.mark.slow
def test_a_refused_picture_holds_up_no_other_and_is_not_called_written(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("orchestrator.tracking.tracker.PATIENCE", 5.0)
    tracker = begin(store)
    tracker.start_trial("t1", "unet #1", {}, TAGS)
    pictures = {name: tmp_path / f"{name}.png" for name in ("refused", "damaged", "late", "good")}
    for file in pictures.values():
        Image.new("RGB", (4, 4)).save(file)
    pictures["damaged"].write_bytes(b"no picture")
    real, tried = MlflowClient.log_artifact, list[str]()

    def some(self: MlflowClient, run_id: str, file: str, folder: str) -> None:
        tried.append(Path(file).stem)
        if tried[-1] == "refused":
            raise PermissionError(errno.EACCES, "not yours")
        if tried[-1] == "late" and "good" not in tried:
            raise ConnectionError("refused")
        real(self, run_id, file, folder)

    monkeypatch.setattr(MlflowClient, "log_artifact", some)
    for file in pictures.values():
        tracker.log_picture("t1", file, "pictures", step=1)
    assert tracker.close()
    assert tracker.unwritten == {pictures["refused"], pictures["damaged"]}
    assert tried.count("refused") == 1
    assert tried.index("good") < len(tried) - 1 - tried[::-1].index("late")
    told = [message for message in caplog.messages if message.startswith("MLflow refuses")]
    assert [message.split()[2] for message in told] == ["refused.png", "damaged.png"]


@pytest.fixture
def moved(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """A store that was moved with its artifacts, and the run of a trial in it that has a model."""
    tracker = begin(store)
    tracker.start_trial("t1", "unet #1", {}, TAGS)
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"png")
    tracker.log_picture("t1", picture, "model")
    assert tracker.close()
    client, run = MlflowClient(store), tracker.run_id("t1")
    client.create_registered_model("m")
    client.create_model_version("m", f"runs:/{run}/model", run)
    old = Path(store.removeprefix("sqlite:///")).parent
    shutil.move(old, tmp_path / "moved here")
    monkeypatch.setattr(utils, "_artifact_repos_cache", OrderedDict())  # another process goes on there
    return f"sqlite:///{tmp_path}/moved here/mlflow.db", run


def _tables(uri: str) -> list[Any]:
    with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as database:
        rows = database.execute("SELECT artifact_uri FROM runs UNION SELECT artifact_location FROM experiments")
        return [row for (row,) in rows.fetchall()]


@pytest.mark.slow
def test_artifacts_that_moved_with_their_store_are_found(moved: tuple[str, str], tmp_path: Path) -> None:
    uri, run = moved
    before = _tables(uri)
    with downloaded("models:/m/1", uri) as found:
        assert (found.folder / "picture.png").read_bytes() == b"png"
    assert _tables(uri) == before, "looking changes nothing"

    tracker = begin(uri)
    picture = tmp_path / "picture.png"
    tracker.start_trial("t1", "unet #1", {}, TAGS)
    tracker.log_picture("t1", picture, "later")
    assert tracker.close()
    assert [trial.info.run_id for trial in trials(uri)] == [run]
    listed = [file.path for file in MlflowClient(uri).list_artifacts(run)]
    assert listed == ["later", "model"]
    assert not (tmp_path / "my results").exists(), "nothing was made in the old place"
    assert not [place for place in _tables(uri) if "my%20results" in place]


@pytest.mark.slow
def test_artifacts_that_did_not_move_stay_where_they_are(moved: tuple[str, str], tmp_path: Path) -> None:
    uri, _ = moved
    (tmp_path / "my results").mkdir()
    shutil.move(tmp_path / "moved here" / "mlartifacts", tmp_path / "my results")
    before = _tables(uri)
    (tmp_path / "moved here" / "mlartifacts").mkdir()
    begin(uri).close()
    assert set(before) <= set(_tables(uri))
