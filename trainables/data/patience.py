"""Reading that waits for a disk: some errors pass, and say nothing of the file."""

from __future__ import annotations

import errno
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from trainables.data.pixel_budget import claim

#: Errors of a share that is away for a moment, and of too many open files.
PASSING = frozenset({errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.EINTR, errno.ETIMEDOUT})
#: Seconds before each further try.
PAUSES = (0.1, 0.3, 0.6, 1.0)
#: A larger file is not read into memory.
MAX_GIGABYTES = 2

#: Bytes of a file that count as a decoded pixel, which takes as much.
BYTES_A_PIXEL = 16

T = TypeVar("T")


class UnreadableError(ValueError):
    """An image file that cannot be decoded; its message is the cause in a few words."""


class PassingError(UnreadableError):
    """A file that could not be read in this run, and perhaps can in the next: not to be remembered."""


def patiently(read: Callable[[], T]) -> T:
    """What `read` gives; it is tried again where an error may pass.

    Raises:
        OSError: the last error, or one that does not pass.
    """
    for pause in PAUSES:
        try:
            return read()
        except OSError as error:
            if error.errno not in PASSING:
                raise
            time.sleep(pause)
    return read()


def passes(error: OSError) -> bool:
    """Whether an error says nothing of the file."""
    return error.errno in PASSING


def unreadable(error: OSError) -> UnreadableError:
    """An error of a file system in the words of a fault."""
    cause = error.strerror or str(error)
    if passes(error):
        return PassingError(f"could not be read just now ({cause})")
    return UnreadableError(f"cannot be opened ({cause})")


def openable(path: Path) -> Path:
    """The path itself, where opening it ends: of a pipe that nobody writes to it would not, nor would reading a device.

    Raises:
        OSError: a pipe, a socket or a device; or nothing is there.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # a folder says so itself
        raise OSError(errno.EINVAL, "a pipe, a socket or a device", str(path))
    return path


def check_bytes(path: Path) -> None:
    """Refuse a file too large for memory, and claim what it takes, before it is read.

    Raises:
        UnreadableError: larger than `MAX_GIGABYTES`. OSError: nothing is there that can be opened.
    """
    if (size := openable(path).stat().st_size) > MAX_GIGABYTES * 1e9:
        raise UnreadableError(f"{size / 1e9:.1f} gigabytes, more than {MAX_GIGABYTES}")
    claim(size // BYTES_A_PIXEL)


def contents(path: Path) -> bytes:
    """A file's bytes.

    Raises:
        UnreadableError: it cannot be opened, or is larger than `MAX_GIGABYTES`. PassingError: it goes on failing.
    """

    def read() -> bytes:
        check_bytes(path)
        with path.open("rb") as file:
            return file.read()

    try:
        return patiently(read)
    except OSError as error:
        raise unreadable(error) from None
