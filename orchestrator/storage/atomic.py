"""Files that are whole or not there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainables import unfinished

if TYPE_CHECKING:
    import numpy as np


def write_text(file: Path, text: str) -> None:
    """Write under a temporary name, then rename; names of files that are no UTF-8 stand as their codes.

    Raises:
        OSError: it cannot be written; what stood there stays.
    """
    with unfinished.beside(file) as part:
        part.write_bytes(text.encode("utf-8", "backslashreplace"))
        os.replace(part, file)


def write_arrays(file: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write plain arrays, compressed, as `numpy.load` reads them; under a temporary name, then renamed.

    Raises:
        OSError: it cannot be written; what stood there stays.
    """
    import numpy as np

    file.parent.mkdir(parents=True, exist_ok=True)
    with unfinished.beside(file) as part:
        with part.open("wb") as stream:
            np.savez_compressed(stream, **dict[str, Any](arrays))
        os.replace(part, file)
