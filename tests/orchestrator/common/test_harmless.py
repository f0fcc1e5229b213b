"""Names that hold anything: nothing of them is obeyed by a terminal, a spreadsheet, or whoever reads line by line."""

from __future__ import annotations

import logging
import os
from io import StringIO
from pathlib import Path
from typing import NoReturn

import pytest
from rich.console import Console

from orchestrator.common.console import say, shown_on
from orchestrator.common.errors import UserError
from orchestrator.common.harmless import cell, harmless
from orchestrator.common.logs import quiet
from orchestrator.config.cli import run_command
from orchestrator.config.command import CommandSettings
from orchestrator.config.loading import write_faults
from trainables.data import Fault

HOSTILE = "\x1b[2J\x1b]0;title\x07a\nerror: all is well\r\tb\u202egnp.\u2028c\x9b1m" + os.fsdecode(b"\xff") + "\ud800"
SHOWN = r"\x1b[2J\x1b]0;title\x07a\nerror: all is well\r\tb\u202egnp.\u2028c\x9b1m" + r"\udcff" + r"\ud800"


class _Nothing(CommandSettings):
    pass


def test_what_a_terminal_obeys_is_written_out_and_nothing_else_is_changed() -> None:
    assert harmless(HOSTILE) == SHOWN
    for name in ("läsion 图 (1).png", "[bold]x[/]", "50 %", "C:\\images", "±", ""):
        assert harmless(name) == name


def test_lines_for_the_user_are_one_line_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    terminal = StringIO()
    with shown_on(Console(file=terminal, force_terminal=True, width=20)):
        say(f"data    {HOSTILE}")
        with quiet(tmp_path / "log.txt"):
            logging.getLogger("orchestrator.any").warning("about %s", HOSTILE)
    said = capsys.readouterr().out
    assert terminal.getvalue() == f"data    {SHOWN}\n"
    assert f"warning: about {SHOWN}\n" in said


@pytest.mark.parametrize(("raised", "code"), [(UserError, 2), (RuntimeError, 1)])
def test_errors_of_a_command_are_one_line(
    raised: type[Exception], code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:
    def run(settings: _Nothing) -> NoReturn:
        raise raised(HOSTILE.replace("\n", " ").replace("\r", " ").replace("\u2028", " "))

    monkeypatch.chdir(tmp_path)
    assert run_command("any", run, _Nothing, [], None) == code
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "\x1b" not in said
    assert r"\x1b[2J" in said


def test_faults_are_a_line_each(tmp_path: Path) -> None:
    write_faults(tmp_path / "faults.txt", [Fault(Path(HOSTILE), "0 bytes"), Fault(Path("ü.png"), "not an image")])
    assert (tmp_path / "faults.txt").read_text(encoding="utf-8").splitlines() == [
        f"{SHOWN}: 0 bytes; left out",
        "ü.png: not an image; left out",
    ]


def test_no_cell_is_a_formula() -> None:
    for text in ("=1+1", "+1", "-rf.png", "@x", "\t=1", "\r=1", "\n=1", "\uff1d1"):
        assert cell(text) == f"'{text}"
    for text in ("a=b", "in/-x.png", "'=1", "", "1.5"):
        assert cell(text) == text
