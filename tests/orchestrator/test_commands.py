"""`python -m orchestrator`: every command is listed, and no other."""

from __future__ import annotations

from pathlib import Path

import pytest

import orchestrator
from orchestrator.__main__ import COMMANDS, main

ROOM = Path(orchestrator.__file__).parent


def test_every_command_has_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in COMMANDS:
        assert len([line for line in lines if line.startswith(f"python -m orchestrator.{name} ")]) == 2
    there = {path.parent.name for path in ROOM.glob("*/__main__.py")}
    assert set(COMMANDS) == there | {path.stem for path in ROOM.glob("[!_]*.py")}


def test_a_word_is_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serach"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: serach: ")
    assert said.err.count("\n") == 1
