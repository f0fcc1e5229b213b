"""Results that are kept as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Self

from pydantic import BaseModel

from trainables.stored import read_finite


class Result(BaseModel, frozen=True):
    """What a command came to, and leaves in a file."""

    @classmethod
    def read(cls, file: Path) -> Self:
        """From its file, also of an older version.

        Raises:
            OSError: there is none. DamagedError: it holds something else, or lacks something.
        """
        return read_finite(file, cls)

    def to_json(self) -> str:
        """What its file holds."""
        return json.dumps(self.model_dump(mode="json"), indent=2) + "\n"
