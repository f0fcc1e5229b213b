"""`breast-ultrasound check`: what is there, what is amiss, and nothing left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.check import main


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_what_is_there_is_said_and_nothing_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    for words in ("torch ", "cores", f"{tmp_path / 'runs'}", "mlflow.db, which the first search makes", "encoders"):
        assert words in said.out
    assert said.out.endswith("all is well\n")
    assert not list(tmp_path.iterdir())


def test_each_thing_amiss_is_a_line_and_the_others_are_looked_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "notes.db").write_text("not a database, however long this file may be")
    assert main(["--storage", "file/runs", "--tracking-uri", "sqlite:///notes.db", "--weights", "nowhere"]) == 1
    said = capsys.readouterr()
    assert [line.split(":")[0].split() for line in said.err.splitlines()] == [
        [name, "AMISS"] for name in ("storage", "store", "weights")
    ]
    assert said.out.endswith("3 of these are amiss\n")


def test_data_are_read_and_checked(phantom: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(phantom)]) == 0
    assert "images used" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_data_that_cannot_be_used_are_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", "nowhere"]) == 2
    assert "nowhere: no such folder" in capsys.readouterr().err
