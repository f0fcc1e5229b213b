"""Plugins of a command, or of a session of Python."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from orchestrator.common.errors import UserError
from trainables import plugins


def load_plugins(*files: Path | str, needed: Mapping[str, str] | None = None) -> None:
    """Run the plugins of these files, and of installed packages, each once in a process; see `trainables.plugins`.

    Args:
        needed: SHA-256 of what must be there then, by name.

    Raises:
        UserError: a plugin cannot be used, or is not there.
    """
    try:
        plugins.load(*files)
        plugins.require(needed or {})
    except plugins.PluginError as error:
        raise UserError(str(error)) from None
