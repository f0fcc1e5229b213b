"""A working folder that was renamed or moved, with what is in it: `--resume` takes everything from where it is now."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from orchestrator.common.errors import UserError
from orchestrator.config.search import SearchSettings
from orchestrator.ensemble.candidates import search_settings
from orchestrator.tuning import resume
from orchestrator.tuning.moved import relocated


@pytest.fixture
def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SearchSettings:
    """A search with its data, its weights and its store in one working folder, and data of another place."""
    project = tmp_path / "old" / "my project"
    for folder in (project / "images", project / "weights", tmp_path / "elsewhere"):
        folder.mkdir(parents=True)
    monkeypatch.chdir(project)
    settings = resume.load(
        {"task": "seg", "name": "one", "data": ["images", str(tmp_path / "elsewhere")], "weights": "weights"}
    )
    (project / "mlflow.db").touch()
    resume.make_folder(settings.folder, settings.stored())
    settings.files.ledger.write_text("an event\n")
    return settings


@pytest.mark.parametrize("how", ["moved", "renamed", "copied"])
@pytest.mark.parametrize("storage", [None, "runs"], ids=["found here", "named"])
def test_everything_is_taken_from_where_the_search_was_found(
    begun: SearchSettings, tmp_path: Path, how: str, storage: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = begun.home.parent
    new = tmp_path / "new" / "my project" if how == "moved" else old.with_name("its copy")
    new.parent.mkdir(exist_ok=True)
    shutil.copytree(old, new) if how == "copied" else old.rename(new)
    monkeypatch.chdir(new)

    found = resume.load({"resume": "one", "storage": storage})
    assert (found.storage, found.tracking_uri) == (new / "runs", f"sqlite:///{new}/mlflow.db")
    assert found.data == (new / "images", tmp_path / "elsewhere")
    assert found.weights == str(new / "weights")
    assert search_settings(new / "runs", "one").tracking_uri == f"sqlite:///{new}/mlflow.db"
    assert old.exists() == (how == "copied"), "nothing was made in the old place"


def test_a_store_that_is_gone_is_not_made_anew(begun: SearchSettings, tmp_path: Path) -> None:
    store = begun.home.parent / "mlflow.db"
    store.unlink()
    with pytest.raises(UserError, match=r"--resume one: its MLflow store .*mlflow\.db is not there; give --tracking-u"):
        resume.load({"resume": "one"})
    assert resume.load({"resume": "one", "tracking_uri": f"sqlite:///{store}"}).tracking_uri == f"sqlite:///{store}"
    begun.files.ledger.unlink()  # killed before it had a store
    assert resume.load({"resume": "one"}).tracking_uri == f"sqlite:///{store}"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("/a/p/data", "/b/p/data"),
        (["/a/p/data", "/c/data"], ["/b/p/data", "/c/data"]),
        ("sqlite:////a/mlflow.db", "sqlite:////b/mlflow.db"),
        ("http://host/a/p", "http://host/a/p"),
        ("auto", "auto"),
        (5, 5),
    ],
)
def test_what_moved_is_told_from_the_storage(value: Any, expected: Any) -> None:
    assert relocated({"storage": "/a/p/runs", "x": value}, Path("/b/p/runs")) == {"storage": "/b/p/runs", "x": expected}
    bucket = {"storage": "s3://bucket/runs", "x": value}
    assert relocated(bucket, Path("/b/p/runs")) == bucket
