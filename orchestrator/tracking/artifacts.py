"""Where a store's artifacts are: written to once before anything is, and found where they moved with the database."""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from mlflow.entities import Experiment
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from orchestrator.common.console import say
from orchestrator.common.errors import first_line
from orchestrator.config.types import SQLITE, TrackingError, shown_uri

#: Beside the database, where no other place is given.
FOLDER = "mlartifacts"
#: A file that is written and deleted.
PROBE = ".writable"
#: Columns that begin with an experiment's location.
_COLUMNS = (("runs", "artifact_uri"), ("logged_models", "artifact_location"), ("experiments", "artifact_location"))


def check_writable(uri: str, experiment: Experiment) -> None:
    """Write a file to the place of an experiment's artifacts, and delete it: what fails is told before hours of work.

    Raises:
        TrackingError: it cannot be written by way of this store.
    """
    location = experiment.artifact_location
    try:
        folder = _folder(location)
        if folder and not folder.parent.is_dir():
            raise OSError(f"{folder.parent} is not there")  # else it would be made: in the old place of what has moved
        repository = get_artifact_repository(location, tracking_uri=uri)
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch) / PROBE
            file.touch()
            repository.log_artifact(str(file))  # type: ignore[no-untyped-call]
    except Exception as error:  # whatever a driver or a server may raise
        served = location.startswith("mlflow-artifacts:") and not uri.startswith("http")
        advice = "give --tracking-uri http://HOST:PORT of its server" if served else "make that a place to write to"
        raise TrackingError(
            f"artifacts of experiment {experiment.name} in {shown_uri(uri)} cannot be written to {shown_uri(location)} "
            f"({first_line(error)}); {advice}, or choose another experiment with --experiment"
        ) from error
    with suppress(Exception):  # not every kind of place deletes
        repository.delete_artifacts(PROBE)  # type: ignore[no-untyped-call]


def present(location: str, uri: str) -> str:
    """The location of artifacts as it is now, where they moved with the database of a store; else as it was."""
    folder = _folder(location)
    if folder is None or folder.exists():
        return location
    beside = _beside(folder, uri)
    return beside.as_uri() if beside and beside.exists() else location


def mend(uri: str) -> None:
    """Have a SQLite store say where the artifacts are that moved with it; MLflow itself never changes that.

    A location is changed where a run's folder in it is gone, and is in the one beside the database.

    Raises:
        sqlite3.Error: the database cannot be written.
    """
    with closing(sqlite3.connect(uri.removeprefix(SQLITE), timeout=20)) as database, database:
        for (old,) in database.execute("SELECT DISTINCT artifact_location FROM experiments").fetchall():
            folder = _folder(old or "")
            new = _beside(folder, uri) if folder else None
            if new is None or new == folder:
                continue
            inside = "instr({0}, ? || '/') = 1"
            runs = database.execute(f"SELECT artifact_uri FROM runs WHERE {inside.format('artifact_uri')}", (old,))
            if not any(present(run, uri) != run for (run,) in runs):
                continue
            for table, column in _COLUMNS:
                database.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                    f"WHERE {column} = ? OR {inside.format(column)}",
                    (new.as_uri(), len(old) + 1, old, old),
                )
            say(f"store   its artifacts moved with it: {old} is {new} now")


def _beside(folder: Path, uri: str) -> Path | None:
    """Where a folder of artifacts is, if it is beside the database of a store; None of another store or place."""
    if not uri.startswith(SQLITE) or FOLDER not in folder.parts:
        return None
    inside = folder.parts[::-1].index(FOLDER) + 1
    return Path(uri.removeprefix(SQLITE)).parent.joinpath(*folder.parts[-inside:])


def _folder(location: str) -> Path | None:
    """The folder of a location on this host; None of another kind of place."""
    if location.startswith("file:"):
        return Path(url2pathname(urlsplit(location).path))
    return Path(location) if location.startswith("/") else None
