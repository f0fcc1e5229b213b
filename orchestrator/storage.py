"""Where the files of searches lie: in a folder that all hosts share, or here with all checkpoints under a URI.

With a URI the folder is a working copy of what is there: ledgers, studies, pictures and ensembles, in the same layout.
Workers write checkpoints to the URI and read them from it; the driver fetches those that it needs itself.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pyarrow import fs

from orchestrator.cli import UserError

#: Working copy, in the working directory, of a storage that is a URI; and the storage where none is given.
HOME = Path("runs")


@dataclass(frozen=True)
class Storage:
    """The storage of `--storage`. Small and picklable: workers use it, too.

    Its methods take paths as the driver has them, below `home`, and know what they are called under the URI.

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
            UserError: the URI cannot be opened.
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
        return f"{self.uri}/{path.relative_to(self.home).as_posix()}" if self.uri else str(path)

    def children(self, folder: Path) -> list[Path]:
        """What is in a folder, by name; empty where there is none."""
        if not self.uri:
            return sorted(folder.iterdir()) if folder.is_dir() else []
        return sorted(self.path(info.path) for info in self._infos(folder))

    def is_whole(self, folder: Path) -> bool:
        """Whether a folder has files, and none is empty."""
        if not self.uri:
            files = list(folder.glob("*"))
            return bool(files) and all(file.stat().st_size for file in files)
        infos = self._infos(folder)
        return bool(infos) and all(info.size for info in infos)

    def has(self, file: Path) -> bool:
        """Whether a file is there."""
        if not self.uri:
            return file.is_file()
        return self._remote.get_file_info(self.where(file)).type == fs.FileType.File

    def files(self, folder: Path, *, without: Sequence[str] = ()) -> list[Path]:
        """The files under the URI below a folder, however deep, but those in its folders `without`."""
        found = [self.path(info.path) for info in self._infos(folder, recursive=True) if info.type == fs.FileType.File]
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
        """Have a file or folder on this host; returns its path.

        Raises:
            OSError: it is nowhere, or cannot be read.
        """
        if self.uri and not path.exists():
            part = path.with_name(f".{path.name}.{os.getpid()}")
            part.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._copy(path, part)
                part.rename(path)
            finally:
                shutil.rmtree(part, ignore_errors=True)
                part.unlink(missing_ok=True)
        return path

    @contextmanager
    def borrow(self, folder: Path) -> Iterator[Path]:
        """A folder to read on whatever host this is; gone afterwards, where it had to be copied.

        Raises:
            OSError: it is nowhere, or cannot be read.
        """
        if not self.uri or folder.exists():
            yield folder
            return
        with tempfile.TemporaryDirectory() as scratch:
            self._copy(folder, Path(scratch) / folder.name)
            yield Path(scratch) / folder.name

    def send(self, path: Path, source: Path | None = None) -> None:
        """Write a file to the URI, whole or not at all, from `source` where it is not at its path on this host.

        Raises:
            OSError: it cannot be written.
        """
        if self.uri:
            fs.copy_files(str(source or path), self.where(path), destination_filesystem=self._remote)

    def delete(self, path: Path) -> None:
        """Delete a file or folder here and under the URI, if it is there and can be deleted."""
        if path.is_file():
            path.unlink(missing_ok=True)
        shutil.rmtree(path, ignore_errors=True)
        if self.uri:
            try:
                kind = self._remote.get_file_info(self.where(path)).type
                if kind == fs.FileType.Directory:
                    self._remote.delete_dir(self.where(path))
                elif kind == fs.FileType.File:
                    self._remote.delete_file(self.where(path))
            except OSError:
                pass

    @property
    def _remote(self) -> fs.FileSystem:
        return _opened(self.uri)[0]

    def _infos(self, folder: Path, *, recursive: bool = False) -> list[fs.FileInfo]:
        selector = fs.FileSelector(self.where(folder), allow_not_found=True, recursive=recursive)
        return list(self._remote.get_file_info(selector))

    def _copy(self, path: Path, to: Path) -> None:
        """Copy a file or folder from the URI."""
        info = self._remote.get_file_info(self.where(path))
        if info.type == fs.FileType.NotFound:
            raise FileNotFoundError(f"{self.shown(path)} is not there")
        if info.type == fs.FileType.Directory:
            to.mkdir(parents=True)
        fs.copy_files(info.path, str(to), source_filesystem=self._remote)


@cache
def _opened(uri: str) -> tuple[fs.FileSystem, str]:
    """A URI's file system, and the path of the URI there.

    Raises:
        UserError: not a URI that pyarrow opens.
    """
    try:
        remote, root = fs.FileSystem.from_uri(uri)
    except (OSError, ValueError) as error:
        raise UserError(f"--storage {uri}: {str(error).splitlines()[0]}") from None
    return remote, root.rstrip("/")
