"""Ray on a host that is too busy, or with too long a name for its temporary files: tried again, then one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import ray

from orchestrator.cluster.session import STARTS, RayStartError, ray_session
from orchestrator.common.errors import UserError

LATE = "The current node timed out during startup. This could happen because the GCS has become overloaded."


class BusyHost:
    """Ray's start, which times out a few times and leaves a process running."""

    def __init__(self, failures: int) -> None:
        self.failures, self.left = failures, list[subprocess.Popen[bytes]]()

    def start(self, **options: Any) -> None:
        """As `ray.init`."""
        if self.failures:
            self.failures -= 1
            self.left.append(subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE))
            raise Exception(LATE)


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_agent_register_timeout_ms", "60000")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "shutdown", lambda: None)


def test_a_busy_host_is_tried_again_from_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    host = BusyHost(STARTS - 1)
    monkeypatch.setattr(ray, "init", host.start)
    with ray_session():
        assert len(host.left) == STARTS - 1
        assert [process.wait(10) for process in host.left] == [-9] * len(host.left)


def test_a_host_that_stays_busy_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    host = BusyHost(STARTS)
    monkeypatch.setattr(ray, "init", host.start)
    with pytest.raises(RayStartError, match=r"did not start .* 3 tries \(The current node timed out.*busy.*again$"):
        ray_session().__enter__()
    assert [process.wait(10) for process in host.left] == [-9] * STARTS


@pytest.mark.parametrize(
    ("end", "code", "said"),
    [
        ("os._exit(1)", 1, "failed: Ray ended this process as it started; "),
        ("raise OSError('AF_UNIX')", 0, ""),
        ("import deaf", 143, "terminated\n"),
    ],
)
def test_what_ends_within_ray_is_told_by_another(end: str, code: int, said: str, tmp_path: Path) -> None:
    """And only that."""
    (tmp_path / "deaf.py").write_text("import os\nos.kill(os.getpid(), 15)\n")
    lines = f"""
import os, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_DFL)
sys.argv = ["-m"]
import orchestrator
import ray
from orchestrator.cluster.session import ray_session
from orchestrator.common.signals import unwind
sys.path.append({str(tmp_path)!r})
def start(**options):
    {end}
ray.init = start
unwind()
try:
    ray_session().__enter__()
except Exception:
    pass
"""
    root = str(Path(__file__).parents[3])
    done = subprocess.run([sys.executable, "-c", lines], cwd=root, capture_output=True, text=True, timeout=120)
    assert done.returncode == code
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == bool(said)


def test_a_folder_with_too_long_a_name_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(**options: Any) -> None:
        raise OSError("validate_socket_filename failed: AF_UNIX path length cannot exceed 107 bytes: /long")

    monkeypatch.setattr(ray, "init", start)
    with pytest.raises(UserError, match=r"^TMPDIR .*RAY_TMPDIR=/tmp$"):
        ray_session().__enter__()


@pytest.mark.slow
def test_ray_itself_refuses_such_a_folder_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    code = "from orchestrator.cluster.session import ray_session\nray_session().__enter__()"
    environment = {"TMPDIR": str(folder), "PYTHONPATH": str(Path(__file__).parents[3]), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert "orchestrator.common.errors.UserError: TMPDIR is too long" in done.stderr


def test_what_ray_says_of_memory_leaves_the_session_as_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    said = (
        "1 worker(s) were killed.\nMemory on the node (IP: 10.0.0.2, ID: 8) was 9.5GB used / 10.0GB limit (0.95)\nRefer"
    )
    monkeypatch.setattr(ray, "init", lambda **options: None)
    with pytest.raises(ray.exceptions.RayError) as raised, ray_session():
        raise ray.exceptions.OutOfMemoryError(said)
    assert str(raised.value) == "memory of host 10.0.0.2 ran out: 9.5 of 10.0 GB used"
