"""The folder of results: written elsewhere first, swapped in at the end; only what is its own is ever deleted."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from orchestrator.common import signals
from orchestrator.common.errors import UserError
from trainables import locks

TABLE, MASKS, OVERLAYS = "predictions.csv", "masks", "overlays"
#: What this command wrote there, and may therefore delete; where it writes until all is there; held while it does.
LIST, PART, LOCK = ".predictions.json", ".predictions-part", ".predictions-part.lock"
ADVICE = "move it away, or name another folder"


def holds_results(folder: Path) -> bool:
    """Whether masks and overlays in a folder are results."""
    return (folder / LIST).is_file() or (folder / TABLE).is_file()


class Results:
    """A folder for results, that need not be there.

    Former results stay as they are until new ones are whole; what is not in the list of them is never touched.
    """

    def __init__(self, out: Path) -> None:
        self.out = out

    def check(self, planned: Iterable[str], images: Iterable[Path] = ()) -> None:
        """Refuse what would overwrite anything but own results.

        Args:
            planned: files to be written, relative to the folder. images: files to be read.

        Raises:
            UserError: something else lies there, or an image is among the results.
        """
        if os.path.lexists(self.out) and not self.out.is_dir():
            raise UserError(f"--out {self.out}: not a folder; name another")
        own = self._own()
        results = {os.path.realpath(self.out / name) for name in own}
        for image in images:
            if os.path.realpath(image) in results:
                raise UserError(f"{image}: it is a result in --out {self.out}, which is written anew; {ADVICE}")
        seen: set[PurePosixPath] = set()
        for name in planned:
            path = PurePosixPath(name)
            for folder in [*path.parents][-2::-1]:  # from the outermost, without "."
                if folder not in seen and self._foreign_folder(folder, own):
                    raise UserError(f"--out {self.out}: {folder} in it was not made by this command; {ADVICE}")
                seen.add(folder)
            if self._foreign(path, own):
                raise UserError(f"--out {self.out}: {path} in it was not made by this command; {ADVICE}")

    @contextmanager
    def staged(self) -> Iterator[Path]:
        """Within it, an empty folder on the same disk; it is gone afterwards, and so is what an interrupted run left.

        Raises:
            UserError: another process is at work there. OSError: it cannot be written to.
        """
        made = [folder for folder in (self.out, *self.out.parents) if not folder.exists()]
        self.out.mkdir(parents=True, exist_ok=True)
        lock, part = locks.take(self.out / LOCK), self.out / PART
        if lock is None:
            raise UserError(
                f"--out {self.out}: another process writes results there; wait for it, or name another folder"
            )
        try:
            if part.exists():
                shutil.rmtree(part)
            part.mkdir()
            try:
                yield part
            finally:
                shutil.rmtree(part, ignore_errors=True)
        finally:
            locks.release(lock)
            with suppress(OSError):  # results, or files of others, lie there
                for folder in made:
                    folder.rmdir()

    def swap(self, part: Path) -> None:
        """Put the files of a folder in the place of former results.

        The list names old and new ones meanwhile, and the table comes last: whatever ends this process between two
        renames, the next run knows what is its own.

        Raises:
            UserError: what is not ours came to lie in the way. OSError: something cannot be renamed or deleted.
        """
        new = {file.relative_to(part).as_posix() for file in part.rglob("*") if file.is_file()}
        self.check(new)
        old = self._own()
        with _uninterrupted():
            self._write_list(part, old | new)
            for name in sorted(old - new):
                self._delete(PurePosixPath(name))
            for name in sorted(new, key=lambda name: (name == TABLE, name)):
                (self.out / name).parent.mkdir(parents=True, exist_ok=True)
                os.replace(part / name, self.out / name)
            self._write_list(part, new)

    def _own(self) -> set[str]:
        """What this command wrote there earlier; what else its list may name is of no account."""
        try:
            found = json.loads((self.out / LIST).read_text(encoding="utf-8"))["files"]
            return {name for name in found if _may_be_ours(name)}
        except FileNotFoundError:
            return set()
        except (OSError, ValueError, KeyError, TypeError):
            raise UserError(f"--out {self.out}: {LIST} in it is no list of this command's files; {ADVICE}") from None

    def _write_list(self, part: Path, names: set[str]) -> None:
        (part / LIST).write_text(json.dumps({"files": sorted(names)}, indent=1) + "\n", encoding="utf-8")
        os.replace(part / LIST, self.out / LIST)

    def _foreign(self, path: PurePosixPath, own: set[str]) -> bool:
        """Whether anything but own files lies at a path."""
        here = self.out / path
        if here.is_dir() and not here.is_symlink():
            below = [file.relative_to(self.out).as_posix() for file in here.rglob("*") if not file.is_dir()]
            return not below or not own.issuperset(below)
        return os.path.lexists(here) and str(path) not in own

    def _foreign_folder(self, folder: PurePosixPath, own: set[str]) -> bool:
        """Whether results would get among things of others: a link, a file, or a folder in which nothing is ours."""
        here = self.out / folder
        if not here.is_dir() or here.is_symlink():
            return here.is_symlink() or self._foreign(folder, own)
        if len(folder.parts) > 1:
            return False
        return any(here.iterdir()) and not any(name.startswith(f"{folder}/") for name in own)

    def _delete(self, path: PurePosixPath) -> None:
        """An own file, with the folders that it leaves empty; not through a link."""
        folders = [self.out / folder for folder in path.parents if folder.parts]
        if any(folder.is_symlink() for folder in folders):
            return
        with suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
            (self.out / path).unlink()
        with suppress(OSError):
            for folder in folders:
                folder.rmdir()


def _may_be_ours(name: object) -> bool:
    """Whether this command writes such files, so that a list from elsewhere deletes nothing else."""
    if not isinstance(name, str):
        return False
    parts = PurePosixPath(name).parts
    return name == TABLE or (len(parts) > 1 and parts[0] in (MASKS, OVERLAYS) and ".." not in parts)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """What ends a command waits for its end, which is a matter of renames."""
    waiting: list[int] = []
    before = [(one, signal.signal(one, lambda number, frame: waiting.append(number))) for one in signals.NUMBERS]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)
        if waiting:
            signal.raise_signal(waiting[0])
