"""A search is fetched from its URI where another host goes on with it; which of two copies is taken, and refusals."""

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING

import pytest

from orchestrator.common.console import shown_on
from orchestrator.common.errors import UserError
from orchestrator.storage import mirror
from orchestrator.storage.mirror import SILENCE, mirrored, pull
from orchestrator.storage.run_folder import NAMES
from orchestrator.storage.storage import Storage
from orchestrator.tuning.identity import Identity
from orchestrator.tuning.ledger import Ledger
from tests.support.working_copies import wait

LEDGER, SETTINGS, HOLDER = NAMES.ledger.name, NAMES.settings.name, NAMES.holder.name

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.s3_server import Bucket
    from tests.support.working_copies import Host

#: Larger than any process id.
DEAD = 2**22 + 1


def test_another_host_goes_on(host: Host, other: Host, bucket: Bucket) -> None:
    ledger = host.begin()
    host.send()
    ledger.close()
    bucket.put("runs/one/tune/1/a/checkpoint_000000/w", b"weights")
    pull(other.storage, "one")
    assert {path.name for path in other.folder.rglob("*")} == {SETTINGS, "study.journal", LEDGER}
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
    ledger.launch(Identity(), 0)
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
        with (host.folder / LEDGER).open("ab") as file:
            file.write(half)
        other.goes_on("b")
        pull(host.storage, "one")
        assert host.trials() == ["a", "b"]
    else:
        other.goes_on("b")
        bucket.put(f"runs/one/{LEDGER}", (host.folder / LEDGER).read_bytes() + half)
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
    with shown_on(host.console), mirrored(host.storage, host.folder):
        wait(lambda: bucket.keys(f"runs/one/{LEDGER}"))
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


def test_a_search_that_began_elsewhere_meanwhile_is_left_alone(host: Host, bucket: Bucket) -> None:
    """Between the look at the storage and the first word in it lie the reading of data, and the way to Ray."""
    ledger, marker = host.begin(), f"runs/one/{HOLDER}"
    bucket.put(marker, f"{DEAD} gpu-box".encode())
    with (
        pytest.raises(UserError, match=r"running already \(process"),
        mirrored(host.storage, host.folder),
    ):
        pytest.fail("it began")
    ledger.close()
    assert bucket.keys() == [marker]


def test_an_ensemble_is_not_who_holds_its_search(host: Host, bucket: Bucket) -> None:
    ledger, marker = host.begin(), f"runs/one/{HOLDER}"
    bucket.put(marker, f"{DEAD} gpu-box".encode())
    with shown_on(host.console), mirrored(host.storage, host.folder, held=False):
        (host.folder / "ensemble.json").write_text("{}")
    ledger.close()
    assert bucket.keys() == ["runs/one/ensemble.json", marker]
    assert bucket.get(marker).startswith(str(DEAD).encode())


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
