"""Files that are whole or not there."""

from __future__ import annotations

import os
from pathlib import Path


def write_text(file: Path, text: str) -> None:
    """Write under a temporary name, then rename.

    Raises:
        OSError: it cannot be written; what stood there stays.
    """
    part = file.with_name(f"{file.name}.part")
    part.write_text(text)
    os.replace(part, file)
