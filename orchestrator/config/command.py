"""What all settings of commands have in common: how `--help` shows them."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class CommandSettings(BaseModel):
    """Settings of one command.

    Attributes:
        GROUPS: heading in `--help` -> its fields; a field without one has no flag.
        EXAMPLES: what may stand behind the command's name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    GROUPS: ClassVar[dict[str, tuple[str, ...]]] = {}
    EXAMPLES: ClassVar[tuple[str, ...]] = ()
