"""An empty MLflow store: making one takes about 3 s, so it is made once and copied."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from home import Home


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An mlflow.db without experiments of ours; copy it, do not write to it."""
    from orchestrator.store import open_store

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
    from home import Home

    found = Home(tmp_path_factory.mktemp("an ensemble with spaces"), phantom)
    for task in ("seg", "cls", "multi"):
        found.search(task)
        found.champion(task)
    return found
