"""A signal at any time is one line and 130 or 143: in late imports, twice, on a terminal that is gone, at the end."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.startup import COMMANDS, make_store

ROOT = Path(__file__).parents[2]
LINES = {130: "interrupted", 143: "terminated"}
WORDS = {**COMMANDS, "weights": ["--list"]}
SENT = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 143}
#: A command whose work is given.
WORK = """
import os, signal, sys
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)  # whatever started the tests
sys.argv = ["-m"]
from orchestrator.common import logs
from orchestrator.config.cli import leave, run_command, starting
from orchestrator.config.command import CommandSettings

def run(settings):
    with starting("working"):
        pass
    print("ready", flush=True)
WORK
leave(run_command("work", run, CommandSettings, [], None))
"""
#: A module that swallows what is raised in it, as extensions do.
DEAF = "import signal\ntry:\n    signal.raise_signal({number})\nexcept BaseException:\n    pass\n"


def work(body: str, folder: Path, **options: int) -> subprocess.Popen[str]:
    """A command that does this."""
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    (folder / "work.py").write_text(WORK.replace("WORK\n", lines))
    path = os.pathsep.join([str(folder), str(ROOT)])
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen(
        [sys.executable, "work.py"], cwd=folder, env={**os.environ, "PYTHONPATH": path}, text=True, **streams
    )  # type: ignore[call-overload]


@pytest.mark.parametrize("quiet", [False, True])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_late_import_that_swallows_what_is_raised_is_ended(number: int, quiet: bool, tmp_path: Path) -> None:
    (tmp_path / "deaf.py").write_text(DEAF.format(number=int(number)))
    told = "from pathlib import Path\nwith logs.quiet(Path('log')):\n    import deaf" if quiet else "import deaf"
    said = work(f"{told}\nprint('heard nothing')", tmp_path).communicate(timeout=60)
    assert said == ("working\nready\n", f"{LINES[SENT[signal.Signals(number)]]}\n")


def test_a_second_signal_while_the_first_is_told_changes_nothing(tmp_path: Path) -> None:
    body = (
        "from orchestrator.config import cli\n"
        "def complain(line):\n"
        "    signal.raise_signal(signal.SIGTERM)\n"
        "    print(line, file=sys.stderr)\n"
        "cli.complain = complain\n"
        "signal.raise_signal(signal.SIGINT)"
    )
    process = work(body, tmp_path)
    assert process.communicate(timeout=60) == ("working\nready\n", "interrupted\n")
    assert process.returncode == 130


def test_what_is_done_is_done(tmp_path: Path) -> None:
    body = (
        "def flush():\n"
        "    signal.raise_signal(signal.SIGTERM)\n"
        "sys.stdout.flush = flush"
    )  # fmt: skip
    process = work(body, tmp_path)
    assert process.communicate(timeout=60)[1] == ""
    assert process.returncode == 0


@pytest.fixture
def closed_terminal() -> Iterator[int]:
    """A terminal whose window is closed."""
    window, terminal = pty.openpty()
    os.close(window)
    yield terminal
    os.close(terminal)


@pytest.mark.parametrize("body", ["import deaf", "signal.raise_signal(signal.SIGHUP)"])
def test_a_closed_terminal_ends_it_all_the_same(body: str, closed_terminal: int, tmp_path: Path) -> None:
    (tmp_path / "deaf.py").write_text(DEAF.format(number=int(signal.SIGHUP)))
    silent = f"from orchestrator.common.console import say\nsay('to nobody')\n{body}"
    process = work(silent, tmp_path, stderr=closed_terminal)
    process.communicate(timeout=60)
    assert process.returncode == 143


@pytest.mark.long
@pytest.mark.parametrize("seconds", [0.05, 0.5, 1.5, 3.0])
@pytest.mark.parametrize("name", WORDS)
def test_every_command_at_several_moments_after_its_first_line(name: str, seconds: float, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((40, 50), np.uint8))
    make_store(tmp_path)
    environment = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
    for number, code in SENT.items():
        with subprocess.Popen(
            [sys.executable, "-m", f"orchestrator.{name}", *WORDS[name]],
            cwd=tmp_path,
            env={**environment, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: [signal.signal(one, signal.SIG_DFL) for one in SENT],
        ) as process:
            first = process.stderr if name == "leaderboard" else process.stdout
            assert first
            assert first.readline().startswith(f"{name} ")
            time.sleep(seconds)
            process.send_signal(number)
            said = process.communicate(timeout=120)[1]
            assert "Traceback" not in said
            if process.returncode not in (0, 1, 2):  # what it does was done before
                assert process.returncode == code
                assert said.splitlines()[-1] == LINES[code]
