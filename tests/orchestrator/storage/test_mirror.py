"""A search's small files are sent to its URI: each change once, whole, and told where that cannot be."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestrator.common.console import shown_on
from orchestrator.common.errors import UserError
from orchestrator.storage import mirror
from orchestrator.storage.mirror import mirrored, pull
from orchestrator.storage.run_folder import NAMES
from orchestrator.storage.storage import Storage
from tests.support.working_copies import wait

LEDGER, SETTINGS, RESERVE = NAMES.ledger.name, NAMES.settings.name, NAMES.reserve.name

if TYPE_CHECKING:
    from tests.support.s3_server import Bucket
    from tests.support.working_copies import Host


def test_small_files_are_sent_and_checkpoints_are_not(host: Host, bucket: Bucket) -> None:
    ledger = host.begin()
    kept = ("summary.json", "pictures/a é/best #1.png", "ensemble/model/best.safetensors", "tune.txt", "folds2/x")
    for name in (
        *kept,
        *("tune/1/a/checkpoint_000000/w", "folds/a/fold-1/w", "folds/a/fold-1.part/w", "ensemble/boost/w"),
        *("ensemble/lock", ".model-x/w", "study.journal.lock", "summary.json.part", "pictures/.a.12/p.png", "x.new/w"),
    ):
        (host.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (host.folder / name).write_text(name)
    assert (host.folder / RESERVE).exists()
    host.send()
    ledger.close()
    assert bucket.keys() == sorted(f"runs/one/{name}" for name in (*kept, SETTINGS, LEDGER, "study.journal"))
    assert bucket.get(f"runs/one/{kept[1]}").decode() == kept[1]
    assert bucket.get(f"runs/one/{LEDGER}") == (host.folder / LEDGER).read_bytes()
    assert host.said.getvalue() == ""


def test_what_changed_is_sent_once_while_it_runs(host: Host, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror, "SECONDS", 0.05)
    sent: list[str] = []
    real = Storage.send
    monkeypatch.setattr(Storage, "send", lambda self, path: (sent.append(path.name), real(self, path)))
    ledger = host.begin()
    summary = host.folder / "summary.json"
    with shown_on(host.console), mirrored(host.storage, host.folder):
        wait(lambda: bucket.keys(f"runs/one/{LEDGER}"))
        summary.write_text("1")
        wait(lambda: bucket.keys(f"runs/one/{summary.name}"))
        host.ask(ledger, "b")
        wait(lambda: bucket.get(f"runs/one/{LEDGER}") == (host.folder / LEDGER).read_bytes())
        assert bucket.get("runs/one/study.journal") == b"a\nb\n"
        summary.write_text("22")
    ledger.close()
    assert bucket.get(f"runs/one/{summary.name}") == b"22"
    assert (sent.count(SETTINGS), sent.count(summary.name), sent.count("study.journal")) == (1, 2, 2)


def test_the_ledger_tells_of_nothing_that_is_not_there(
    host: Host, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The study went before a trial was asked for, the ledger would go after."""
    ledger, real = host.begin(), Storage.send

    def asks_afterwards(self: Storage, path: Path) -> None:
        real(self, path)
        if path.name == "study.journal":
            host.ask(ledger, "b")

    with (host.folder / LEDGER).open("ab") as file:
        file.write(b'{"event": "res')  # and a line is being written
    monkeypatch.setattr(Storage, "send", asks_afterwards)
    mirror._send(host.storage, host.folder, {})
    ledger.close()
    events = [json.loads(line) for line in bucket.get(f"runs/one/{LEDGER}").splitlines()]
    assert [event["trial"] for event in events if event["event"] == "asked"] == ["a"]
    assert bucket.get("runs/one/study.journal") == b"a\n"


def test_files_that_vanish_are_no_problem(
    host: Host, bucket: Bucket, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, real = host.begin(), Storage.send
    for name in ("pictures/a/1.png", "pictures/b/2.png"):
        (host.folder / name).parent.mkdir(parents=True)
        (host.folder / name).write_text(name)

    def vanish(self: Storage, path: Path) -> None:
        if path.name == "1.png":
            shutil.rmtree(host.folder / "pictures")
        real(self, path)

    monkeypatch.setattr(Storage, "send", vanish)
    host.send()
    ledger.close()
    assert (host.said.getvalue(), caplog.messages) == ("", [])
    assert bucket.keys(f"runs/one/{LEDGER}")
    assert not bucket.keys("runs/one/pictures")


def test_storage_that_goes_away_is_told_in_one_line_and_stops_nothing(
    host: Host, bucket: Bucket, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "SECONDS", 0.05)
    ledger, tries, real = host.begin(), list[Path](), Storage.write
    monkeypatch.setattr(Storage, "write", lambda self, file, content: (tries.append(file), real(self, file, content)))
    with shown_on(host.console), mirrored(host.storage, host.folder):
        wait(lambda: bucket.keys(f"runs/one/{LEDGER}"))
        bucket.drop()
        host.ask(ledger, "b")
        wait(lambda: caplog.messages)
        before = len(tries)
        wait(lambda: len(tries) > before + 2)
    (line,) = host.said.getvalue().splitlines()
    assert line.startswith(f"{bucket.uri}/runs/one lacks what is new in {host.folder} (NO_SUCH_BUCKET during ")
    assert line.endswith("; go on here, or copy it there")
    (warning,) = caplog.messages
    assert "NO_SUCH_BUCKET" in warning
    assert warning.endswith("; trying on")
    ledger.close()
    for name in ("one", "two", ""):
        with pytest.raises(UserError, match=f"^--storage {host.storage.uri}: NO_SUCH_BUCKET during "):
            pull(host.storage, name)


def test_a_server_that_is_away_is_asked_once_a_round_and_a_file_of_its_own_holds_up_no_other(
    host: Host, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pyarrow tries on for 6 seconds each time, or for 100 where the server is silent; there may be 1,000 pictures."""
    host.begin().close()
    (host.folder / "faults.txt").write_text("1")
    tries, real = list[str](), Storage.send

    def unreadable(self: Storage, path: Path) -> None:
        tries.append(path.name)
        if path.name == "faults.txt":
            raise PermissionError(errno.EACCES, "not for you", str(path))
        real(self, path)

    monkeypatch.setattr(Storage, "send", unreadable)
    assert "not for you" in mirror._send(host.storage, host.folder, {})
    assert bucket.keys() == [f"runs/one/{name}" for name in (SETTINGS, "study.journal", LEDGER)]
    bucket.drop()
    (host.folder / "faults.txt").unlink()
    tries.clear()
    assert mirror._send(host.storage, host.folder, {}).startswith("NO_SUCH_BUCKET")
    assert tries == [SETTINGS]


def test_storage_that_comes_back_has_all_of_it(
    host: Host, bucket: Bucket, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "SECONDS", 0.05)
    bucket.drop()
    ledger = host.begin()
    with shown_on(host.console), mirrored(host.storage, host.folder):
        wait(lambda: caplog.messages)
        bucket.make()
    ledger.close()
    assert host.said.getvalue() == ""
    assert bucket.keys() == [f"runs/one/{name}" for name in (SETTINGS, "study.journal", LEDGER)]


def test_an_ensemble_does_not_send_an_older_ledger(host: Host, other: Host, bucket: Bucket) -> None:
    """It is built from a copy of a search that goes on elsewhere meanwhile."""
    ledger = host.begin()
    host.send()
    pull(other.storage, "one")
    with shown_on(other.console), mirrored(other.storage, other.folder, held=False):
        host.ask(ledger, "b")
        host.send()
        (other.folder / "ensemble.json").write_text("{}")
    ledger.close()
    assert bucket.get(f"runs/one/{LEDGER}") == (host.folder / LEDGER).read_bytes()
    assert bucket.get("runs/one/study.journal") == b"a\nb\n"
    assert bucket.get("runs/one/ensemble.json") == b"{}"


def test_a_folder_is_its_own_mirror(tmp_path: Path) -> None:
    with mirrored(Storage(tmp_path), tmp_path / "one"):
        pass
    assert list(tmp_path.iterdir()) == []
