"""The first seconds of every command: what is imported for a command line, the first line, and signals meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.startup import COMMANDS, make_store
from orchestrator.common.signals import Terminated
from orchestrator.config.cli import run_command
from orchestrator.predict.__main__ import PredictSettings

ROOT = Path(__file__).parents[2]
HEAVY = {"torch", "ray", "mlflow", "sklearn", "optuna", "pandas", "albumentations", "numpy", "cv2", "scipy", "pyarrow"}
#: Sends this process a signal when a module begins to be imported.
SITECUSTOMIZE = """
import os, signal, sys

number, before = int(os.environ["SIGNAL"]), os.environ["BEFORE"]
signal.signal(number, signal.SIG_IGN if os.environ.get("IGNORED") else signal.SIG_DFL)  # whatever started the tests

class Sender:
    def find_spec(self, name, path=None, target=None):
        if name == before:
            signal.raise_signal(number)

sys.meta_path.insert(0, Sender())
"""


@pytest.fixture(autouse=True)
def _in_a_folder_with_an_image_and_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    cv2.imwrite("a.png", np.zeros((40, 50), np.uint8))
    make_store(tmp_path)


def python(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    path = {"PYTHONPATH": os.pathsep.join([os.getcwd(), str(ROOT)])}
    return subprocess.run(
        [sys.executable, *words], env={**os.environ, **path, **environment}, capture_output=True, text=True, timeout=120
    )


def struck(number: int, before: str, name: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    Path("sitecustomize.py").write_text(SITECUSTOMIZE)
    return python("-m", f"orchestrator.{name}", *words, SIGNAL=str(int(number)), BEFORE=before, **environment)


@pytest.mark.parametrize("word", ["--help", "--no-such-flag"])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_line_is_read_without_what_takes_seconds_to_import(name: str, word: str) -> None:
    done = python("-X", "importtime", "-m", f"orchestrator.{name}", word)
    imports, said = set[str](), list[str]()
    for line in done.stderr.splitlines():
        if line.startswith("import time:"):
            imports.add(line.rsplit("|", 1)[1].strip().split(".")[0])
        else:
            said.append(line)
    assert "pydantic" in imports
    assert not HEAVY & imports
    if word == "--help":
        assert (done.returncode, said) == (0, [])
        assert f"usage: python -m orchestrator.{name}" in done.stdout
    else:
        assert (done.returncode, len(said), done.stdout) == (2, 1, "")


@pytest.mark.parametrize("name", COMMANDS)
def test_ctrl_c_before_the_command_line_is_read_is_one_line(name: str) -> None:
    done = struck(signal.SIGINT, "pydantic", name, *COMMANDS[name])
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


@pytest.mark.parametrize(("name", "before"), [*((name, "numpy") for name in COMMANDS), ("predict", "torch")])
def test_the_first_line_comes_before_long_imports_in_which_a_signal_ends_the_command(name: str, before: str) -> None:
    done = struck(signal.SIGTERM, before, name, *COMMANDS[name])
    assert done.returncode == 143
    first, last = (done.stderr if name == "leaderboard" else done.stdout + done.stderr).splitlines()
    assert first.startswith(f"{name} ")
    assert ": loading " in first
    assert last == "terminated"


@pytest.mark.parametrize("before", ["pydantic", "numpy"])
@pytest.mark.parametrize(
    ("number", "code", "line"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated"), (signal.SIGHUP, 143, "terminated")],
)
def test_every_signal_is_one_line(number: int, code: int, line: str, before: str) -> None:
    done = struck(number, before, "eda")
    assert (done.returncode, done.stderr) == (code, f"{line}\n")


def test_what_nohup_ignores_stays_ignored() -> None:
    assert struck(signal.SIGHUP, "pydantic", "eda", "--help", IGNORED="yes").returncode == 0


def test_once_a_command_works_a_signal_unwinds_it() -> None:
    done = struck(signal.SIGTERM, "orchestrator.tracking.download", "predict", *COMMANDS["predict"])
    assert (done.returncode, done.stderr) == (143, "terminated\n")


@pytest.mark.parametrize(
    ("raised", "code", "line"), [(KeyboardInterrupt, 130, "interrupted"), (Terminated, 143, "terminated")]
)
def test_a_caller_from_python_keeps_its_signals(
    raised: type[KeyboardInterrupt], code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(settings: PredictSettings) -> None:
        raise raised

    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    assert run_command("predict", run, PredictSettings, COMMANDS["predict"], None) == code
    assert capsys.readouterr() == ("", f"{line}\n")
    assert before == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
