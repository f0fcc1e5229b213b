"""A search while another program takes the host's memory: told in one line, waited for, and nothing is lost."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
import ray  # noqa: F401 (makes psutil known)

from tests.support.processes import Process
from tests.support.searches import Search, nothing_is_lost

pytestmark = pytest.mark.long

GIB = 2**30
#: Bytes that the search may take.
ROOM = 3 * GIB
HOG = "held = bytearray(int(__import__('sys').argv[1])); __import__('time').sleep(600)"


def _used() -> tuple[int, int]:
    """As Ray sees it: bytes that are used, and all."""
    import psutil

    found = psutil.virtual_memory()
    return found.total - found.available, found.total


def test_it_waits_and_goes_on(phantom: Path, empty_store: Path, tmp_path: Path) -> None:
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    used, total = _used()
    limit = used + ROOM
    fixed = ["--data", str(phantom), "--image-size", "64", "--batch-size", "8", "--epochs", "6", "--arch", "unet"]
    search = Search(
        tmp_path,
        "short",
        [*fixed, "--trials", "2", "--max-concurrent", "1", "--weights", "none"],
        environment={"SURROGATE_SECONDS": "2", "RAY_memory_usage_threshold": f"{limit / total:.4f}"},
    )
    with search.begin() as launch:
        launch.until(search.epochs)
        taken = limit - _used()[0] + GIB // 4
        with Process([sys.executable, "-c", HOG, str(taken)], tmp_path, {}, tmp_path / "hog.txt"):
            launch.until(lambda: " ran out: " in launch.output)
        said = launch.end()
    nothing_is_lost(search)
    (line,) = [line for line in said.splitlines() if "memory of host " in line]
    assert " GB used; most by " in line
    assert line.endswith("; going on in 30 s")
    assert "Refer to the documentation" not in said
    assert {row["status"] for row in search.summary()["trials"]} <= {"completed", "asha"}
