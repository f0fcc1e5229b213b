"""What failure tests start beside themselves: processes that leave nothing behind, an MLflow server, a small disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self, TypeVar

import pytest

from orchestrator.config.types import TrackingError
from orchestrator.tracking.client import open_store
from tests.support.mlflow_runs import free_port

Found = TypeVar("Found")

PATIENCE = 180.0  # seconds that anything here may take


class Process:
    """A process in a group of its own, with its output in a file; on leaving it, nothing it started is left.

    Args:
        environment: added to this process's own, with MARK: by it those are found that left the group.
    """

    def __init__(self, command: list[str], folder: Path, environment: dict[str, str], output: Path) -> None:
        inherited = {k: v for k, v in os.environ.items() if k not in ("MLFLOW_TRACKING_URI", "RAY_ADDRESS")}
        self._mark, self._output = f"MARK={output}", output
        with output.open("w") as out:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env={**inherited, **environment, "MARK": str(output)},
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        for pid in _marked(self._mark):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()

    @property
    def output(self) -> str:
        """What it printed."""
        return self._output.read_text()

    def until(self, condition: Callable[[], Found]) -> Found:
        """Wait for something to be true; its value. The test fails if the process ends before."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if found := condition():
                return found
            if self._process.poll() is not None:
                pytest.fail(f"it ended with {self._process.returncode}: {self.output}")
            time.sleep(0.02)
        pytest.fail(f"waited for {PATIENCE:.0f} s: {self.output}")

    @property
    def ended(self) -> bool:
        """Whether it ended, in whatever way."""
        return self._process.poll() is not None

    def memory(self) -> int:
        """Resident memory of it and all that it started, bytes."""
        pages = 0
        for pid in _marked(self._mark):
            with suppress(OSError):  # it ended just now
                pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def end(self, code: int = 0) -> str:
        """Wait for its end, with this exit code; its output."""
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            pytest.fail(f"no end within {PATIENCE:.0f} s: {self.output}")
        assert self._process.returncode == code, self.output
        assert "Traceback" not in self.output, self.output
        return self.output

    def kill(self) -> None:
        """SIGKILL to the process, none to those that it started."""
        self._process.kill()
        self._process.wait()

    def interrupt(self) -> None:
        """Ctrl-C: every process of the group hears it."""
        os.killpg(self._process.pid, signal.SIGINT)


def _marked(mark: str) -> Iterator[int]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                yield int(folder.name)
        except OSError:
            continue


class Server:
    """`mlflow server` on loopback, which can be killed and started again within the block.

    Args:
        folder: for its artifacts. store: its database; `folder/mlflow.db` by default.
    """

    def __init__(self, folder: Path, store: str = "") -> None:
        self._folder, self._port, self._store = folder, free_port(), store or f"sqlite:///{folder}/mlflow.db"
        self.address = f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it; it answers."""
        folder = self._folder
        command = [sys.executable, "-m", "mlflow", "server", "--port", str(self._port), "--workers", "1"]
        places = {
            "--backend-store-uri": self._store,
            "--artifacts-destination": f"{folder}/artifacts",
        }
        words = [word for pair in places.items() for word in pair]
        self._process = Process([*command, *words], folder, {}, folder / "server.txt")
        self._process.until(self._answers)

    def stop(self) -> None:
        """Kill it."""
        self._process.__exit__()

    def _answers(self) -> bool:
        try:
            open_store(self.address, create=False)
        except TrackingError:
            return False
        return True


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Callable[[str], None]]:
    """`folder` is a disk of this size (as `mount` takes it); the value makes it larger."""

    def mount(*words: str) -> None:
        subprocess.run(["mount", *words, str(folder)], check=True, capture_output=True, text=True)

    folder.mkdir()
    try:
        mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs")
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no disk can be mounted here ({getattr(error, 'stderr', '') or error})")
    try:
        yield lambda size: mount("-o", f"remount,size={size}")
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
