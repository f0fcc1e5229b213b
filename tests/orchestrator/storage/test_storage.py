"""What a storage promises, in a folder and under URIs; a copy is whole or not there; URIs that cannot be one."""

from __future__ import annotations

import os
import pickle
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pyarrow
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from pyarrow import fs

from orchestrator.common.errors import UserError
from orchestrator.storage import storage as module
from orchestrator.storage.storage import HOME, Storage, reason

if TYPE_CHECKING:
    from tests.support.s3_server import S3, Bucket

#: A name that a search may have, and one of a file that a URI would have to quote.
NAME, ODD = "mamma é 7.1", "50% #1?.png"
#: What stands behind the bucket's name: nothing, prefixes, and quoted ones.
PREFIXES = ["", "/", "/runs", "/my runs/é/", "/a%23b%25%3F%20"]
Put = Callable[[Path, bytes], None]


@pytest.fixture(params=["folder", *PREFIXES])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Storage, Put]:
    """An empty storage, and what another host writes there."""
    home = tmp_path / "ho me #1%20"
    if request.param == "folder":
        home.mkdir()

        def put(path: Path, content: bytes) -> None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

        return Storage(home), put
    bucket = request.getfixturevalue("bucket")
    prefix = unquote(request.param).strip("/")

    def upload(path: Path, content: bytes) -> None:
        bucket.put("/".join(part for part in (prefix, path.relative_to(home).as_posix()) if part), content)

    return Storage(home, bucket.uri + request.param), upload


def test_what_is_written_is_read_and_deleted(place: tuple[Storage, Put]) -> None:
    storage, put = place
    put(storage.home / NAME / "settings.yaml", b"")
    file = storage.home / NAME / ODD
    assert (storage.has(file), storage.read(file)) == (False, b"")
    storage.write(file, b"one")
    storage.write(file, b"two")
    assert (storage.has(file), storage.read(file)) == (True, b"two")
    assert not storage.has(file.parent)
    storage.write(file, b"")
    assert (storage.has(file), storage.read(file)) == (True, b"")
    storage.delete(file)
    storage.delete(file)
    assert not storage.has(file)
    assert storage.has(storage.home / NAME / "settings.yaml")


def test_a_folder_is_listed_by_name_and_deleted_with_all_in_it(place: tuple[Storage, Put]) -> None:
    storage, put = place
    tune = storage.home / NAME / "tune"
    assert storage.children(tune) == []
    for trial in ("b", "a é", "c"):
        put(tune / "1" / trial / "checkpoint_000000" / ODD, b"weights")
    put(tune / "1" / "result", b"")
    assert storage.children(tune / "1") == [tune / "1" / name for name in ("a é", "b", "c", "result")]
    assert storage.children(storage.home) == [storage.home / NAME]
    storage.delete(tune / "1" / "b" / "checkpoint_000000")
    assert storage.children(tune / "1" / "b") == []
    storage.delete(tune / "1" / "b")
    storage.delete(tune / "1" / "b")
    assert [path.name for path in storage.children(tune / "1")] == ["a é", "c", "result"]


def test_a_checkpoint_is_whole_where_no_file_is_empty(place: tuple[Storage, Put]) -> None:
    storage, put = place
    folder = storage.home / NAME / "checkpoint_000001"
    assert not storage.is_whole(folder)
    put(folder / "best.safetensors", b"weights")
    put(folder / "inner" / "file", b"")
    assert storage.is_whole(folder)
    put(folder / "training.pt", b"")
    assert not storage.is_whole(folder)


def test_a_copy_for_good_and_one_for_a_while(place: tuple[Storage, Put], monkeypatch: pytest.MonkeyPatch) -> None:
    storage, put = place
    folder, scratch = storage.home / NAME / "checkpoint_000001", storage.home.parent / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    for read in (storage.fetch, lambda path: storage.borrow(path).__enter__()):
        with pytest.raises(FileNotFoundError):
            read(folder)
    files = {ODD: b"weights", "inner/é": b"1" * 100_000}
    for name, content in files.items():
        put(folder / name, content)
    before = folder.exists()
    with suppress(KeyError), storage.borrow(folder) as borrowed:
        assert borrowed.name == folder.name
        assert {name: (borrowed / name).read_bytes() for name in files} == files
        raise KeyError
    assert folder.exists() == before
    assert list(scratch.iterdir()) == []
    assert storage.fetch(folder / ODD).read_bytes() == files[ODD]
    if storage.uri:
        shutil.rmtree(folder)
    assert storage.fetch(folder) == folder
    assert {name: (folder / name).read_bytes() for name in files} == files
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    with storage.borrow(folder) as borrowed:
        assert borrowed == folder


def test_paths_of_the_driver_and_of_the_file_system(place: tuple[Storage, Put]) -> None:
    storage = pickle.loads(pickle.dumps(place[0]))
    path = storage.home / NAME / "tune" / "1" / ODD
    assert storage.path(storage.where(path)) == path
    assert storage.path(storage.where(storage.home)) == storage.home
    shown = f"{NAME}/tune/1/{ODD}"
    assert storage.shown(path) == f"{storage.uri}/{shown}" if storage.uri else str(path)


def test_sent_files_are_there_for_others(bucket: Bucket, tmp_path: Path) -> None:
    storage, file = Storage(tmp_path, f"{bucket.uri}/runs"), tmp_path / NAME / ODD
    file.parent.mkdir()
    file.write_bytes(b"1" * 6_000_000)  # in parts
    storage.send(file)
    storage.send(tmp_path / NAME / "other", file)
    assert bucket.keys() == [f"runs/{NAME}/{ODD}", f"runs/{NAME}/other"]
    assert bucket.get(f"runs/{NAME}/other") == file.read_bytes()
    with pytest.raises(FileNotFoundError, match="gone"):
        storage.send(tmp_path / "gone")
    storage.delete(file)
    assert not file.exists()
    assert bucket.keys() == [f"runs/{NAME}/other"]


def test_files_of_a_search_but_its_checkpoints(bucket: Bucket, tmp_path: Path) -> None:
    storage, folder = Storage(tmp_path, bucket.uri), tmp_path / "one"
    for name in ("settings.yaml", "tune/1/a/w", "ensemble/boost/w", "ensemble/model/w", "tuned"):
        bucket.put(f"one/{name}", b"x")
    bucket.put("one two/settings.yaml", b"x")
    bucket.put("one/empty/", b"")
    found = storage.files(folder, without=("tune", "ensemble/boost"))
    assert [str(file.relative_to(folder)) for file in found] == ["ensemble/model/w", "settings.yaml", "tuned"]


class Breaks(MemoryFileSystem):
    """Files in memory, of which the second cannot be read."""

    cachable = False

    def __init__(self) -> None:
        super().__init__()
        self.store, self.opened = {}, 0

    def _open(self, path, mode="rb", **options):  # type: ignore[no-untyped-def]
        self.opened += mode == "rb"
        if self.opened > 1:
            raise OSError("AWS Error NETWORK_CONNECTION during GetObject operation: it went away\nand more")
        return super()._open(path, mode, **options)


def test_a_copy_that_breaks_off_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    breaks = Breaks()
    for name in "abc":
        breaks.pipe(f"/bucket/checkpoint/{name}", b"weights")
    remote = fs.PyFileSystem(fs.FSSpecHandler(breaks))
    monkeypatch.setattr(module, "_opened", lambda uri: (remote, "/bucket"))
    monkeypatch.setattr(pyarrow, "cpu_count", lambda: 1)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    storage = Storage(tmp_path / "runs", "memory://bucket")
    with pytest.raises(OSError, match="it went away") as caught:
        storage.fetch(tmp_path / "runs" / "checkpoint")
    assert reason(caught.value).endswith("it went away")
    with pytest.raises(OSError, match="it went away"), storage.borrow(tmp_path / "runs" / "checkpoint"):
        pytest.fail("half of it was lent")
    assert [path.name for path in tmp_path.rglob("*")] == ["runs"]


def test_two_processes_that_fetch_the_same(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage, folder = Storage(tmp_path, bucket.uri), tmp_path / "one" / "checkpoint"
    bucket.put("one/checkpoint/w", b"weights")
    real = Path.rename

    def overtaken(self: Path, target: Path) -> Path:
        monkeypatch.setattr(Path, "rename", real)
        storage.fetch(folder)
        return real(self, target)

    monkeypatch.setattr(Path, "rename", overtaken)
    assert (storage.fetch(folder) / "w").read_bytes() == b"weights"
    assert [path.name for path in folder.parent.iterdir()] == ["checkpoint"]


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("s3://", "not a place in a bucket; write s3://BUCKET/PREFIX"),
        ("s3://BUCKET//runs", "not a place in a bucket"),
        ("s3://BUCKET/../runs", "not a place in a bucket"),
        ("s3://BUCKET/run #1", "not a place in a bucket"),
        ("s3://BUCKET/50%", "Cannot parse URI"),
        ("s3://BUCKET/runs?mode=fast", "Unexpected query parameter in S3 URI: 'mode'"),
        ("s4://BUCKET/runs", "Unrecognized filesystem type in URI"),
        ("file:///mnt/runs", "that is a folder; give its path, /mnt/runs"),
    ],
)
def test_what_is_no_place_for_a_storage_is_refused(uri: str, expected: str, bucket: Bucket, tmp_path: Path) -> None:
    storage = Storage(tmp_path, uri.replace("BUCKET", bucket.name))
    with pytest.raises(UserError, match="--storage ") as caught:
        storage.read(tmp_path / "one")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_options_of_a_uri_are_no_part_of_the_path(bucket: Bucket, tmp_path: Path) -> None:
    storage = Storage(tmp_path, f"{bucket.uri}/runs?region=us-east-1")
    storage.write(tmp_path / "one" / "file", b"x")
    assert bucket.keys() == ["runs/one/file"]
    assert storage.shown(tmp_path / "one") == f"{bucket.uri}/runs/one?region=us-east-1"
    assert storage.shown(tmp_path) == storage.uri


def test_a_bucket_that_is_not_there(bucket: Bucket, tmp_path: Path) -> None:
    storage = Storage(tmp_path / "runs", "s3://no-such-bucket-here/runs")
    with pytest.raises(OSError, match="NO_SUCH_BUCKET") as caught:
        storage.write(tmp_path / "runs" / "file", b"x")
    assert reason(caught.value).startswith("NO_SUCH_BUCKET during")
    assert caught.value.errno is None
    assert storage.trouble().startswith("NO_SUCH_BUCKET during")
    for look in (storage.children, storage.files, storage.is_whole):  # or all checkpoints would be taken for lost
        with pytest.raises(OSError, match="NO_SUCH_BUCKET"):
            look(tmp_path / "runs")
    storage.delete(tmp_path / "runs" / "file")


def test_storage_that_comes_back_is_waited_for(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage, naps = Storage(tmp_path, bucket.uri), list[float]()
    bucket.drop()
    assert storage.trouble().startswith("NO_SUCH_BUCKET")

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            bucket.make()

    monkeypatch.setattr(module.time, "sleep", sleep)
    assert storage.trouble(60) == ""
    assert len(naps) == 3
    assert Storage(tmp_path / "absent").trouble() == ""
    bucket.drop()
    naps.clear()
    storage.await_answer()
    assert len(naps) == 3
    bucket.drop()
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    with pytest.raises(OSError, match="NO_SUCH_BUCKET"):
        storage.await_answer()
    Storage(tmp_path / "absent").await_answer()


def test_a_storage_is_named_by_a_folder_or_a_uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Storage.of(tmp_path / "shared") == Storage(tmp_path / "shared")
    assert Storage.of("s3://bucket/runs") == Storage(tmp_path / HOME, "s3://bucket/runs")


@pytest.mark.slow  # pyarrow tries on for 6 seconds
def test_a_server_that_is_away(bucket: Bucket, s3_server: S3, tmp_path: Path) -> None:
    storage, file = Storage(tmp_path, f"{bucket.uri}/runs"), tmp_path / "file"
    storage.write(file, b"x")
    s3_server.stop()
    try:
        with pytest.raises(OSError, match="NETWORK_CONNECTION") as caught:
            storage.read(file)
        assert caught.value.errno is None
        assert storage.trouble() == reason(caught.value).replace("HeadObject", "ListObjectsV2")
    finally:
        s3_server.start()
    assert reason(caught.value).startswith("NETWORK_CONNECTION during HeadObject operation")
    assert os.environ["AWS_ENDPOINT_URL"].removeprefix("http://").replace(":", " port ") in reason(caught.value)
    assert storage.read(file) == b"x"
