"""Files of `write_arrays` read again: an array has the size that the file holds, whatever its header says."""

from __future__ import annotations

import math
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from trainables.stored import DamagedError

#: Bytes of all arrays of a file, unpacked.
MOST_BYTES = 1 << 33


def read_arrays(file: Path) -> dict[str, np.ndarray]:
    """The arrays of a file, by name.

    Raises:
        OSError: it cannot be read. DamagedError: it is cut or changed.
    """
    try:
        with zipfile.ZipFile(file) as packed:
            if sum(member.file_size for member in packed.infolist()) > MOST_BYTES:
                raise ValueError(f"more than {MOST_BYTES} bytes unpacked")
            for member in packed.infolist():
                with packed.open(member) as stream:
                    _check_size(stream, member)
        with np.load(file) as found:
            return {name: found[name] for name in found}
    except (ValueError, EOFError, RuntimeError, OverflowError, struct.error, zipfile.BadZipFile, zlib.error) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else "it is cut short"
        raise DamagedError(f"{file}: {reason}") from None


def _check_size(stream: IO[bytes], member: zipfile.ZipInfo) -> None:
    """Refuse an array whose header names another size than there is: memory would be taken for all of it."""
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    if stream.tell() + math.prod(shape) * dtype.itemsize != member.file_size:
        raise ValueError(f"{member.filename.removesuffix('.npy')}: not of the size that it names")
