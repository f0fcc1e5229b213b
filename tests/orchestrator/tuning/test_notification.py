"""`--notify`: what the command reads, and that nothing follows from its failure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.tuning import notification
from orchestrator.tuning.notification import notifying


@pytest.fixture
def summary(tmp_path: Path) -> Path:
    file = tmp_path / "night 1" / "summary.json"
    file.parent.mkdir()
    return file


def test_it_reads_the_summary_through_the_shell(
    summary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with notifying("echo sent; tr a-z A-Z > told.txt && true", summary):
        summary.write_text(json.dumps({"status": "done", "metric": "dice"}))
    assert json.loads((tmp_path / "told.txt").read_text()) == {"STATUS": "DONE", "METRIC": "DICE"}
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("error", "status"), [(OSError("no space"), "failed"), (KeyboardInterrupt("no space"), "interrupted")]
)
@pytest.mark.parametrize("written", [{}, {"status": "done", "metric": "dice"}])
def test_a_search_that_was_broken_off_says_so(
    error: BaseException, status: str, written: dict[str, str], summary: Path
) -> None:
    if written:
        summary.write_text(json.dumps(written))

    with pytest.raises(type(error), match="no space"), notifying(f"cat > '{summary.parent}/told'", summary):
        raise error

    told = json.loads((summary.parent / "told").read_text())
    assert told == written | {"name": "night 1", "status": status, "why": "no space"}


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("echo first; echo no route to host >&2; exit 7", "--notify: exit code 7: no route to host"),
        ("kill -9 $$", "--notify: exit code -9"),
        ("sleep 300 & wait", "--notify: still running after 1 s, stopped"),
    ],
)
def test_its_failure_is_one_line(
    command: str, line: str, summary: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(notification, "LIMIT", 1.0)
    with notifying(command, summary):
        pass
    assert capfd.readouterr() == ("", f"{line}\n")


def test_without_a_command_nothing_runs(summary: Path) -> None:
    with notifying("", summary):
        summary.write_text("not JSON")
