"""An empty MLflow store: making one takes about 3 s, so it is made once and copied. And S3, where moto is installed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.home import Home
    from tests.support.s3_server import S3, Bucket
    from tests.support.working_copies import Host


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An mlflow.db without experiments of ours; copy it, do not write to it."""
    from orchestrator.tracking.client import open_store

    file = tmp_path_factory.mktemp("empty store") / "mlflow.db"
    open_store(f"sqlite:///{file}", create=True)
    return file


@pytest.fixture
def store(empty_store: Path, tmp_path: Path) -> str:
    """The URI of a fresh store, in a folder with a space in its name."""
    folder = tmp_path / "my results"
    folder.mkdir()
    shutil.copy(empty_store, folder / "mlflow.db")
    return f"sqlite:///{folder / 'mlflow.db'}"


@pytest.fixture(scope="session")
def home(phantom: Path, tmp_path_factory: pytest.TempPathFactory, ray_local: None) -> Home:
    """Searches of all tasks with their ensembles, which takes minutes; add to it, do not take away."""
    from tests.support.home import Home

    found = Home(tmp_path_factory.mktemp("an ensemble with spaces"), phantom)
    for task in ("seg", "cls", "multi"):
        found.search(task)
        found.champion(task)
    return found


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3]:
    """S3 in this process, which others find by its `environment`; who stops it starts it again."""
    for package in ("boto3", "moto.server"):
        pytest.importorskip(package, reason=f"{package} is not installed (extra: dev)")
    from tests.support.s3_server import S3

    server = S3()
    yield server
    server.stop()


@pytest.fixture
def bucket(s3_server: S3, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """An empty bucket, which this process finds by its name."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    return s3_server.bucket()


@pytest.fixture
def host(bucket: Bucket, tmp_path: Path) -> Host:
    """A host with a working copy."""
    from tests.support.working_copies import Host

    return Host(bucket, tmp_path / "head")


@pytest.fixture
def other(bucket: Bucket, tmp_path: Path) -> Host:
    """Another one."""
    from tests.support.working_copies import Host

    return Host(bucket, tmp_path / "laptop")
