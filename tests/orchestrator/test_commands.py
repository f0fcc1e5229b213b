"""`breast-ultrasound`: each command is listed and run by its name, no other is, and each is called as it was called."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import orchestrator
from orchestrator.__main__ import COMMANDS, main

ROOM = Path(orchestrator.__file__).parent


def test_every_command_has_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in COMMANDS:
        assert len([line for line in lines if line.startswith(f"  {name} ")]) == 2
    there = {path.parent.name for path in ROOM.glob("*/__main__.py")}
    assert set(COMMANDS) == there | {path.stem for path in ROOM.glob("[!_]*.py")}


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize(
    ("program", "shown"),
    [("/usr/bin/breast-ultrasound", "breast-ultrasound "), ("orchestrator/__main__.py", "python -m orchestrator.")],
)
def test_a_command_is_called_in_its_help_as_it_was_called(
    name: str, program: str, shown: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [program])
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: {shown}{name} ")


def test_what_goes_wrong_in_a_command_is_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eda", "--no-such-flag"]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"breast-ultrasound {version('breast-ultrasound-orchestrator')}\n"


def test_an_unknown_word_is_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serach"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: serach: ")
    assert said.err.count("\n") == 1
