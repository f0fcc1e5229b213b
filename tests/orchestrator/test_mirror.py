"""A search's small files under its URI: each change sent once, whole, and told where it cannot; fetched elsewhere."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from orchestrator import mirror
from orchestrator.cli import UserError
from orchestrator.ledger import FILE, RESERVE, Ledger
from orchestrator.mirror import HOLDER, SILENCE, mirrored, pull
from orchestrator.resume import SETTINGS
from orchestrator.storage import Storage

if TYPE_CHECKING:
    from s3_server import Bucket

CONFIG = {"architecture": "unet"}
#: Larger than any process id.
DEAD = 2**22 + 1


def wait(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "waited for 30 s"
        time.sleep(0.02)


class Host:
    """A host with a working copy of its own.

    Attributes:
        folder: of the search "one". said: what it printed.
    """

    def __init__(self, bucket: Bucket, folder: Path) -> None:
        self.storage = Storage(folder / "runs", f"{bucket.uri}/runs")
        self.folder, self.said = self.storage.home / "one", io.StringIO()
        self.console = Console(file=self.said, width=300)

    def begin(self) -> Ledger:
        """A new search, as far as its first trial."""
        self.folder.mkdir(parents=True)
        (self.folder / SETTINGS).write_text("name: one\ntask: seg\n")
        ledger = Ledger(self.folder)
        ledger.launch({"id": "x"}, 0)
        self.ask(ledger, "a")
        return ledger

    def ask(self, ledger: Ledger, trial: str) -> None:
        """A trial; the study knows of it before the ledger does."""
        with (self.folder / "study.journal").open("a") as study:
            study.write(f"{trial}\n")
        ledger.add("asked", trial, number=len(ledger.trials) + 1, study_number=len(ledger.trials), config=CONFIG)

    def send(self) -> None:
        """As at the end of a search."""
        with mirrored(self.storage, self.folder, self.console):
            pass

    def goes_on(self, *trials: str) -> None:
        """A launch that asks for trials, and ends."""
        ledger = Ledger(self.folder)
        ledger.launch({}, 0)
        for trial in trials:
            self.ask(ledger, trial)
        self.send()
        ledger.close()

    def trials(self) -> list[str]:
        return list(Ledger(self.folder, hold=False).trials)


@pytest.fixture
def host(bucket: Bucket, tmp_path: Path) -> Host:
    return Host(bucket, tmp_path / "head")


@pytest.fixture
def other(bucket: Bucket, tmp_path: Path) -> Host:
    return Host(bucket, tmp_path / "laptop")


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
    assert bucket.keys() == sorted(f"runs/one/{name}" for name in (*kept, SETTINGS, FILE, "study.journal"))
    assert bucket.get(f"runs/one/{kept[1]}").decode() == kept[1]
    assert bucket.get(f"runs/one/{FILE}") == (host.folder / FILE).read_bytes()
    assert host.said.getvalue() == ""


def test_what_changed_is_sent_once_while_it_runs(host: Host, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror, "SECONDS", 0.05)
    sent: list[str] = []
    real = Storage.send
    monkeypatch.setattr(Storage, "send", lambda self, path: (sent.append(path.name), real(self, path)))
    ledger = host.begin()
    summary = host.folder / "summary.json"
    with mirrored(host.storage, host.folder, host.console):
        wait(lambda: bucket.keys(f"runs/one/{FILE}"))
        summary.write_text("1")
        wait(lambda: bucket.keys(f"runs/one/{summary.name}"))
        host.ask(ledger, "b")
        wait(lambda: bucket.get(f"runs/one/{FILE}") == (host.folder / FILE).read_bytes())
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

    with (host.folder / FILE).open("ab") as file:
        file.write(b'{"event": "res')  # and a line is being written
    monkeypatch.setattr(Storage, "send", asks_afterwards)
    mirror._send(host.storage, host.folder, {})
    ledger.close()
    events = [json.loads(line) for line in bucket.get(f"runs/one/{FILE}").splitlines()]
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
    assert bucket.keys(f"runs/one/{FILE}")
    assert not bucket.keys("runs/one/pictures")


def test_storage_that_goes_away_is_told_in_one_line_and_stops_nothing(
    host: Host, bucket: Bucket, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "SECONDS", 0.05)
    ledger, tries, real = host.begin(), list[Path](), Storage.write
    monkeypatch.setattr(Storage, "write", lambda self, file, content: (tries.append(file), real(self, file, content)))
    with mirrored(host.storage, host.folder, host.console):
        wait(lambda: bucket.keys(f"runs/one/{FILE}"))
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
    assert bucket.keys() == [f"runs/one/{name}" for name in (SETTINGS, "study.journal", FILE)]
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
    with mirrored(host.storage, host.folder, host.console):
        wait(lambda: caplog.messages)
        bucket.make()
    ledger.close()
    assert host.said.getvalue() == ""
    assert bucket.keys() == [f"runs/one/{name}" for name in (SETTINGS, "study.journal", FILE)]


def test_another_host_goes_on(host: Host, other: Host, bucket: Bucket) -> None:
    ledger = host.begin()
    host.send()
    ledger.close()
    bucket.put("runs/one/tune/1/a/checkpoint_000000/w", b"weights")
    pull(other.storage, "one")
    assert {path.name for path in other.folder.rglob("*")} == {SETTINGS, "study.journal", FILE}
    other.goes_on("b", "c")
    host.folder.joinpath("faults.txt").write_text("mine")
    pull(host.storage, "one")
    assert host.trials() == ["a", "b", "c"]
    assert host.folder.joinpath("study.journal").read_text() == "a\nb\nc\n"
    assert host.folder.joinpath("faults.txt").read_text() == "mine"
    host.goes_on("d")
    pull(other.storage)
    assert other.trials() == ["a", "b", "c", "d"], "without a name, what is here and older is fetched, too"


def test_what_is_newer_here_stays(host: Host, bucket: Bucket) -> None:
    ledger = host.begin()
    host.send()
    host.ask(ledger, "b")  # and then it is killed
    ledger.close()
    before = {file: file.read_bytes() for file in host.folder.iterdir()}
    pull(host.storage, "one")
    pull(host.storage)
    assert {file: file.read_bytes() for file in host.folder.iterdir()} == before
    assert host.trials() == ["a", "b"]


def test_what_went_on_here_and_there_is_refused(host: Host, other: Host) -> None:
    ledger = host.begin()
    host.send()
    ledger.close()
    pull(other.storage, "one")
    other.goes_on("b")
    ledger = Ledger(host.folder)
    ledger.launch({}, 0)
    host.ask(ledger, "c")
    ledger.close()
    for name in ("one", ""):
        with pytest.raises(UserError, match="went on both here and in s3://") as caught:
            pull(host.storage, name)
        assert f"move {host.folder} away to go on with what is there" in str(caught.value)
        assert "\n" not in str(caught.value)
    assert host.trials() == ["a", "c"]
    host.folder.rename(host.folder.with_name("mine"))
    pull(host.storage, "one")
    assert host.trials() == ["a", "b"]


@pytest.mark.parametrize("torn", ["here", "there"])
def test_a_last_line_that_is_half_written(host: Host, other: Host, bucket: Bucket, torn: str) -> None:
    ledger = host.begin()
    host.send()
    ledger.close()
    pull(other.storage, "one")
    half = b'{"event": "started", "tri'
    if torn == "here":
        with (host.folder / FILE).open("ab") as file:
            file.write(half)
        other.goes_on("b")
        pull(host.storage, "one")
        assert host.trials() == ["a", "b"]
    else:
        other.goes_on("b")
        bucket.put(f"runs/one/{FILE}", (host.folder / FILE).read_bytes() + half)
        pull(other.storage, "one")
        assert other.trials() == ["a", "b"]
        shutil.rmtree(other.folder)
        pull(other.storage, "one")
        assert other.trials() == ["a"]


def test_a_pull_that_is_cut_off_begins_again(
    host: Host, other: Host, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = host.begin()
    host.send()
    ledger.close()
    real = Storage.fetch

    def dies(self: Storage, path: Path) -> Path:
        if path.name == "study.journal":
            raise KeyboardInterrupt
        return real(self, path)

    for name in ("one", ""):
        shutil.rmtree(other.storage.home, ignore_errors=True)
        monkeypatch.setattr(Storage, "fetch", dies)
        with pytest.raises(KeyboardInterrupt):
            pull(other.storage, name)
        monkeypatch.setattr(Storage, "fetch", real)
        pull(other.storage, name)
        assert other.trials() == ["a"]
        assert (other.folder / "study.journal").read_text() == "a\n"


def test_a_search_that_died_at_once_is_there(host: Host, other: Host) -> None:
    host.folder.mkdir(parents=True)
    (host.folder / SETTINGS).write_text("name: one\ntask: seg\n")
    ledger = Ledger(host.folder)
    host.send()
    ledger.close()
    pull(other.storage, "one")
    assert (other.folder / SETTINGS).is_file()


def test_a_search_that_is_nowhere(host: Host, other: Host) -> None:
    with pytest.raises(UserError, match=r"no search 'two' in s3://.*/runs \(there is none\)"):
        pull(other.storage, "two")
    ledger = host.begin()
    host.send()
    ledger.close()
    with pytest.raises(UserError, match=r"no search 'two' in s3://.*/runs \(there are one\)"):
        pull(other.storage, "two")
    assert not other.storage.home.exists()


def test_a_search_that_runs_elsewhere_is_left_alone(host: Host, other: Host, bucket: Bucket) -> None:
    ledger, marker = host.begin(), f"runs/one/{HOLDER}"
    with mirrored(host.storage, host.folder, host.console):
        wait(lambda: bucket.keys(f"runs/one/{FILE}"))
        pid, _, name = bucket.get(marker).decode().partition(" ")
        assert int(pid) == os.getpid()
        pull(other.storage, "one")  # this very process
        pull(other.storage)
        bucket.put(marker, f"{os.getppid()} {name}".encode())
        with pytest.raises(UserError, match=rf"--resume one: it is running already \(process {os.getppid()} on {name}"):
            pull(other.storage, "one")
        bucket.put(marker, f"{DEAD} gpu-box".encode())
        with pytest.raises(UserError, match=rf"process {DEAD} on gpu-box\).* if that host is dead, 120 s"):
            pull(other.storage, "one")
    ledger.close()
    assert not bucket.keys(marker)
    pull(other.storage, "one")


@pytest.mark.parametrize("dead", ["here", "silent"])
def test_a_dead_process_holds_nothing(
    host: Host, other: Host, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, dead: str
) -> None:
    ledger = host.begin()
    host.send()
    ledger.close()
    if dead == "here":
        bucket.put(f"runs/one/{HOLDER}", f"{DEAD} {os.uname().nodename}".encode())
    else:
        bucket.put(f"runs/one/{HOLDER}", b"1 gpu-box")
        now = time.time() + SILENCE + 5
        monkeypatch.setattr(mirror.time, "time", lambda: now)
    pull(other.storage, "one")
    assert other.trials() == ["a"]
    assert not (other.folder / HOLDER).exists()


def test_an_ensemble_does_not_send_an_older_ledger(host: Host, other: Host, bucket: Bucket) -> None:
    """It is built from a copy of a search that goes on elsewhere meanwhile."""
    ledger = host.begin()
    host.send()
    pull(other.storage, "one")
    with mirrored(other.storage, other.folder, other.console):
        host.ask(ledger, "b")
        host.send()
        (other.folder / "ensemble.json").write_text("{}")
    ledger.close()
    assert bucket.get(f"runs/one/{FILE}") == (host.folder / FILE).read_bytes()
    assert bucket.get("runs/one/study.journal") == b"a\nb\n"
    assert bucket.get("runs/one/ensemble.json") == b"{}"


def test_a_folder_is_its_own_mirror(tmp_path: Path) -> None:
    with mirrored(Storage(tmp_path), tmp_path / "one", Console()):
        pass
    assert list(tmp_path.iterdir()) == []
