"""A working folder that was renamed or moved, with what lies in it: the paths of stored settings, as they are now."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.config.types import SQLITE


def relocated(settings: Mapping[str, Any], home: Path) -> dict[str, Any]:
    """Stored settings of a search, or of an ensemble, whose storage is now `home`.

    What moved is told from the storage's path then and now, but for the names at their ends that are the same: of
    `/old/project/runs` that is `/new/project/runs` now, `/old` is `/new`. A path below it that is there now is where it
    went, and so is one that is gone from where it was. Under a URI nothing moves.
    """
    stored = str(settings.get("storage", home))
    before, now = Path(stored), home
    if "://" in stored or before == now:
        return dict(settings)
    while before.name and before.name == now.name:
        before, now = before.parent, now.parent

    def moved(value: Any) -> Any:
        if isinstance(value, list):
            return [moved(one) for one in value]
        if not isinstance(value, str):
            return value
        mark = SQLITE if value.startswith(SQLITE) else ""
        path = Path(value.removeprefix(mark))
        if not path.is_relative_to(before):
            return value
        place = now / path.relative_to(before)
        return value if path.exists() and not place.exists() else f"{mark}{place}"

    return {name: moved(value) for name, value in settings.items()} | {"storage": str(home)}
