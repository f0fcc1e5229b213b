"""The SQLite file of a tracking store, looked at before MLflow is, which takes seconds to import."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from orchestrator.common.errors import first_line
from orchestrator.config.types import OTHER_STORE, SQLITE, TrackingError


def check_sqlite(uri: str, create: bool) -> Path | None:
    """The file of a store in SQLite, None of another store.

    Fails in one line where MLflow would retry for minutes, or turn another program's database into its own.

    Args:
        uri: as `tracking_uri` gives it.
        create: make a missing database; without it, looking at a store changes nothing on disk.

    Raises:
        TrackingError: no such file, or one that is no store, or cannot be read (or written, to create).
    """
    if not uri.startswith(SQLITE):
        return None
    path = Path(uri.removeprefix(SQLITE))
    if not create and not path.is_file():
        raise TrackingError(f"no tracking store at {path}; run a search first, or {OTHER_STORE}")
    try:
        if create:
            path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(f"{path.as_uri()}?mode={'rwc' if create else 'rw'}", uri=True, timeout=20)) as db:
            if create:
                db.execute("BEGIN IMMEDIATE")  # fails where the file or its folder cannot be written
            tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except (sqlite3.Error, OSError) as error:
        raise TrackingError(
            f"{path} cannot be used as a tracking store ({first_line(error)}); {OTHER_STORE}"
        ) from error
    if "experiments" not in tables and (tables or not create):
        raise TrackingError(f"{path} holds no MLflow store; {OTHER_STORE}")
    return path
