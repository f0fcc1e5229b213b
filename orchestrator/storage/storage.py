"""Where the files of searches lie: in a folder that all hosts share, or here with all checkpoints under a URI.

With a URI the folder is a working copy of what is there: ledgers, studies, pictures and ensembles, in the same layout.
Workers write checkpoints to the URI and read them from it; the driver fetches those that it needs itself.
"""

from __future__ import annotations

import shutil
import string
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from orchestrator.common.errors import UserError
from trainables import unfinished

if TYPE_CHECKING:  # late elsewhere: only a URI needs it, and most commands have none
    from pyarrow import fs

#: Working copy, in the working directory, of a storage that is a URI; and the storage where none is given.
HOME = Path("runs")
#: Seconds between two looks at a storage that does not answer.
LOOK = 2.0
#: Seconds for which a storage that does not answer is waited for.
PATIENCE = 300.0


@dataclass(frozen=True)
class Storage:
    """The storage of `--storage`. Small and picklable: workers use it, too.

    Its methods take paths as the driver has them, below `home`, and know what they are called under the URI. Where its
    server does not answer, or there is no such bucket, they raise OSError, without `errno` as it is not this host's.

    Attributes:
        home: folder of searches on the driver's host.
        uri: what all hosts share instead of `home`; "" where that is shared, or there is one host.
    """

    home: Path
    uri: str = ""

    @classmethod
    def of(cls, place: Path | str) -> Storage:
        """What `--storage` names."""
        return cls(place) if isinstance(place, Path) else cls(HOME.absolute(), place)

    @property
    def filesystem(self) -> fs.FileSystem | None:
        """pyarrow's file system of the URI; None for the local one.

        Raises:
            UserError: the URI is no place for a storage.
            OSError: who should answer does not.
        """
        return _opened(self.uri)[0] if self.uri else None

    def where(self, path: Path) -> str:
        """What `filesystem` calls it."""
        if not self.uri:
            return str(path)
        inside = path.relative_to(self.home).as_posix()
        return "/".join(part for part in (_opened(self.uri)[1], inside) if part != ".")

    def path(self, where: str) -> Path:
        """The driver's path of what `filesystem` calls `where`."""
        return self.home / Path(where).relative_to(_opened(self.uri)[1]) if self.uri else Path(where)

    def shown(self, path: Path) -> str:
        """What a user calls it."""
        if not self.uri:
            return str(path)
        place, mark, options = self.uri.partition("?")
        return f"{place}/{path.relative_to(self.home).as_posix()}".removesuffix("/.") + mark + options

    def trouble(self, patience: float = 0.0) -> str:
        """Why the storage does not answer, in words, tried for so many seconds; "" as soon as it does."""
        deadline = time.monotonic() + patience
        while True:
            try:
                self.children(self.home)
                return ""
            except OSError as error:
                if time.monotonic() >= deadline:
                    return reason(error)
                time.sleep(LOOK)

    def await_answer(self) -> None:
        """Return as soon as the storage answers.

        Raises:
            OSError: it does not, for `PATIENCE` seconds.
        """
        if self.uri and (problem := self.trouble(PATIENCE)):
            raise OSError(problem)

    def children(self, folder: Path) -> list[Path]:
        """What is in a folder, by name; empty where there is none."""
        if not self.uri:
            return sorted(folder.iterdir()) if folder.is_dir() else []
        return sorted(self.path(info.path) for info in self._infos(folder))

    def is_whole(self, folder: Path) -> bool:
        """Whether a folder has files, and none is empty."""
        if not self.uri:
            sizes = [file.stat().st_size for file in folder.glob("*") if file.is_file()]
        else:
            sizes = [info.size for info in self._infos(folder) if info.is_file]
        return bool(sizes) and all(sizes)

    def has(self, file: Path) -> bool:
        """Whether a file is there."""
        if not self.uri:
            return file.is_file()
        return bool(self._remote.get_file_info(self.where(file)).is_file)

    def files(self, folder: Path, *, without: Sequence[str] = ()) -> list[Path]:
        """The files under the URI below a folder, however deep, but those in its folders `without`."""
        found = [self.path(info.path) for info in self._infos(folder, recursive=True) if info.is_file]
        return sorted(path for path in found if not any(path.is_relative_to(folder / part) for part in without))

    def read(self, file: Path) -> bytes:
        """What is in a file that hosts share, empty if there is none."""
        if not self.has(file):
            return b""
        if not self.uri:
            return file.read_bytes()
        with self._remote.open_input_stream(self.where(file)) as stream:
            return bytes(stream.readall())

    def write(self, file: Path, content: bytes) -> None:
        """Write a small file that hosts share.

        Raises:
            OSError: it cannot be written.
        """
        if not self.uri:
            file.write_bytes(content)
            return
        with self._remote.open_output_stream(self.where(file)) as stream:
            stream.write(content)

    def fetch(self, path: Path) -> Path:
        """Have a file or folder on this host, whole or not at all; returns its path.

        Raises:
            OSError: it is nowhere, or cannot be read.
        """
        if path.exists():
            return path
        source = self._source(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.beside(path) as part:
            try:
                _copy(source, part).rename(path)
            except OSError:
                if not path.exists():  # which another process has fetched meanwhile
                    raise
        return path

    @contextmanager
    def borrow(self, folder: Path) -> Iterator[Path]:
        """A folder to read on whatever host this is; gone afterwards, where it had to be copied.

        Raises:
            OSError: it is nowhere, or cannot be read.
        """
        if folder.exists():
            yield folder
            return
        source = self._source(folder)
        with tempfile.TemporaryDirectory() as scratch:
            yield _copy(source, Path(scratch) / folder.name)

    def send(self, path: Path, source: Path | None = None) -> None:
        """Write a file to the URI, whole or not at all, from `source` where it is not at its path on this host.

        Raises:
            OSError: it cannot be written.
        """
        if self.uri:
            from pyarrow import fs

            fs.copy_files(str(source or path), self.where(path), destination_filesystem=self._remote)

    def delete(self, path: Path) -> None:
        """Delete a file or folder here and under the URI, if it is there and can be deleted."""
        shutil.rmtree(path, ignore_errors=True)
        with suppress(OSError):
            path.unlink()
        if not self.uri:
            return
        with suppress(OSError):
            info = self._remote.get_file_info(self.where(path))
            if info.type.name == "Directory":
                self._remote.delete_dir(self.where(path))
            elif info.is_file:
                self._remote.delete_file(self.where(path))

    @property
    def _remote(self) -> fs.FileSystem:
        return _opened(self.uri)[0]

    def _infos(self, folder: Path, *, recursive: bool = False) -> list[fs.FileInfo]:
        from pyarrow import fs

        try:  # a folder that is not there is empty, a bucket that is not there is an error
            return list(self._remote.get_file_info(fs.FileSelector(self.where(folder), recursive=recursive)))
        except FileNotFoundError:
            return []

    def _source(self, path: Path) -> tuple[fs.FileSystem, fs.FileInfo]:
        """A file or folder under the URI.

        Raises:
            OSError: it is not there, or that cannot be told.
        """
        info = self._remote.get_file_info(self.where(path)) if self.uri else None
        if info is None or info.type.name == "NotFound":
            raise FileNotFoundError(f"{self.shown(path)} is not there")
        return self._remote, info


def reason(error: Exception) -> str:
    """Why pyarrow fails, in one line: what the server says, without what was asked of it."""
    return (str(error) or type(error).__name__).splitlines()[0].rpartition("AWS Error ")[2][:200]


def _copy(source: tuple[fs.FileSystem, fs.FileInfo], to: Path) -> Path:
    from pyarrow import fs

    remote, info = source
    if info.type == fs.FileType.Directory:
        to.mkdir()
    fs.copy_files(info.path, str(to), source_filesystem=remote)
    return to


@cache
def _opened(uri: str) -> tuple[fs.FileSystem, str]:
    """A URI's file system, and the path of the URI there.

    Raises:
        UserError: not a URI that pyarrow opens, or one of no place for a storage.
        OSError: who should answer does not.
    """
    from pyarrow import fs

    try:
        remote, root = fs.FileSystem.from_uri(quote(uri, safe=string.punctuation))
    except ValueError as error:
        raise UserError(f"--storage {uri}: {reason(error)}") from None
    parts = root.strip("/").split("/")
    if isinstance(remote, fs.LocalFileSystem):
        raise UserError(f"--storage {uri}: that is a folder; give its path, {root}")
    if "#" in uri or not all(parts) or {".", ".."} & set(parts):
        raise UserError(f"--storage {uri}: not a place in a bucket; write s3://BUCKET/PREFIX")
    return remote, root.rstrip("/")
