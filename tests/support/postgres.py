"""A PostgreSQL server of its own, in a temporary folder: Debian's package, and the driver that MLflow takes."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.mlflow_runs import free_port

#: Who runs it where tests run as root, which PostgreSQL refuses.
USER = "postgres"


@contextmanager
def postgres() -> Iterator[str]:
    """The address of an empty database, as MLflow takes it; skips where there is no PostgreSQL, or no driver."""
    pytest.importorskip("psycopg", reason="psycopg is not installed (extra: postgres)")
    programs = _programs()
    other = {"user": USER, "group": USER} if os.geteuid() == 0 else {}
    # Not pytest's folder, which only its owner may enter; and a socket's path may not be long.
    with tempfile.TemporaryDirectory(prefix="pg-") as name:
        if other:
            shutil.chown(name, USER, USER)
        port, data = free_port(), Path(name) / "data"

        def call(program: str, *words: str) -> None:
            command = [str(programs / program), *words]
            done = subprocess.run(command, cwd=name, stdin=subprocess.DEVNULL, capture_output=True, text=True, **other)
            assert done.returncode == 0, done.stderr

        call("initdb", "--pgdata", str(data), "--username", USER, "--auth", "trust", "--encoding", "UTF8")
        options = f"-p {port} -k {name} -c listen_addresses=127.0.0.1"
        call("pg_ctl", "start", "--wait", "--pgdata", str(data), "--log", f"{name}/log", "--options", options)
        try:
            call("createdb", "--host", name, "--port", str(port), "--username", USER, "mlflow")
            yield f"postgresql+psycopg://{USER}@127.0.0.1:{port}/mlflow"
        finally:
            call("pg_ctl", "stop", "--pgdata", str(data), "--mode", "immediate")


def _programs() -> Path:
    """Where PostgreSQL's programs are; Debian keeps most of them off the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    initdb = shutil.which("initdb") or (found and found[-1])
    if not initdb:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    return Path(initdb).resolve().parent  # a link may stand apart from the others
