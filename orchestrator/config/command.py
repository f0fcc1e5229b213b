"""What all settings of commands have in common: how `--help` shows them, and what no value may be."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, field_validator

#: The largest number that a setting may be: seeds of scikit-learn go no further, and no other is as large.
MOST = 2**32 - 1
#: Bytes of a text, of which a path may have no more.
LONGEST_TEXT = 4096


class CommandSettings(BaseModel):
    """Settings of one command.

    Attributes:
        GROUPS: heading in `--help` -> its fields; a field without one has no flag.
        EXAMPLES: what may stand behind the command's name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    GROUPS: ClassVar[dict[str, tuple[str, ...]]] = {}
    EXAMPLES: ClassVar[tuple[str, ...]] = ()

    @field_validator("*", mode="before")
    @classmethod
    def _texts_that_name_something(cls, value: Any) -> Any:
        for one in value if isinstance(value, list | tuple) else (value,):
            if isinstance(one, str | Path):
                _check_text(str(one))
        return value

    @field_validator("*")
    @classmethod
    def _numbers_in_reach(cls, value: Any) -> Any:
        if isinstance(value, int | float) and value > MOST:
            raise ValueError(f"too large a number; at most {MOST}")
        return value


def _check_text(text: str) -> None:
    if "\0" in text:
        raise ValueError(f"{text[:80]!r} holds a NUL byte, which no name has")
    try:
        size = len(os.fsencode(text))
    except UnicodeEncodeError:
        raise ValueError(f"{text[:80]!r} holds half of a character, which no name has") from None
    if size > LONGEST_TEXT:
        raise ValueError(f"{text[:20]!r}... has {size:,} bytes; at most {LONGEST_TEXT:,}")
