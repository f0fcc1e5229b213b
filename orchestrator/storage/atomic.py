"""Files that are whole or not there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


def write_text(file: Path, text: str) -> None:
    """Write under a temporary name, then rename; names of files that are no UTF-8 stand as their codes.

    Raises:
        OSError: it cannot be written; what stood there stays.
    """
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        part.write_bytes(text.encode("utf-8", "backslashreplace"))
        os.replace(part, file)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def write_arrays(file: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write plain arrays, compressed, as `numpy.load` reads them; under a temporary name, then renamed.

    Raises:
        OSError: it cannot be written; what stood there stays.
    """
    import numpy as np

    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"{file.name}.part")
    with part.open("wb") as stream:
        np.savez_compressed(stream, **dict[str, Any](arrays))
    os.replace(part, file)
