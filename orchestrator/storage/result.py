"""Results that are kept as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Self

from pydantic import BaseModel


class Result(BaseModel, frozen=True):
    """What a command came to, and leaves in a file."""

    @classmethod
    def read(cls, file: Path) -> Self:
        """From its file, also of an older version.

        Raises:
            OSError, ValueError: there is none, it holds something else, or lacks something.
        """
        # Python's own JSON reads halves of characters, as a folder's name that is no UTF-8 has them.
        return cls.model_validate(json.loads(file.read_text()))

    def to_json(self) -> str:
        """What its file holds."""
        return json.dumps(self.model_dump(mode="json"), indent=2) + "\n"
