"""`python -m orchestrator.report`: bad input is one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.report.__main__ import main


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "no ensemble to report on"),
        (["--name", "nowhere"], "no search 'nowhere'"),
        (["--format", "pdf"], "--format"),
        (["--storage", "elsewhere"], "elsewhere: no such folder"),
        (["--out", "page.md"], "give --format md"),
        (["--out", "table.csv"], "name it table.html"),
        (["--out", "taken/page.html"], "taken cannot be written to"),
        (["--out", "."], "a folder; name the page"),
    ],
)
def test_bad_input_is_one_line(flags: list[str], said: str, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "taken").write_text("a file")
    assert main(flags) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == ["taken"]
