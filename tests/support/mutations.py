"""Files as people, disks and other programs leave them: one value changed, or cut; and what a reader may do then."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

#: What a value is changed to: nothing, other types, and numbers that no one means.
NONSENSE: tuple[Any, ...] = (None, "", -1, 10**9, float("nan"), [None])
Keys = tuple[str | int, ...]


def changed(plain: Any, inner: Any = None, keys: Keys = ()) -> Iterator[tuple[Keys, Any, bytes]]:
    """Each value of JSON by its keys, what it is changed to ("removed": its key goes), and the whole with that."""
    inner = plain if inner is None else inner
    items = list(inner.items() if isinstance(inner, dict) else enumerate(inner[:2]))
    for key, value in items:
        for other in NONSENSE:
            inner[key] = other
            yield (*keys, key), other, json.dumps(plain).encode()
        inner[key] = value
        if isinstance(inner, dict):
            del inner[key]
            yield (*keys, key), "removed", json.dumps(plain).encode()
            inner[key] = value
        if isinstance(value, dict | list):
            yield from changed(plain, value, (*keys, key))


def cut(content: bytes) -> Iterator[bytes]:
    """Cut off, empty, of zeros, of another kind, and nested beyond any need."""
    yield from (content[: len(content) * part // 5] for part in range(5))
    yield from (bytes(len(content)), b"\x89PNG\r\n\x1a\n" + content[:9], b"[" * 100_000, b"null", b"[]", b"{}", b"3")


def refusal(file: Path, read: Callable[[], object], error: type[Exception], what: object = "") -> str:
    """What a reader says of a file that it does not take, one line that names it; "" where it takes it."""
    try:
        read()
    except error as found:
        line = str(found)
    else:
        return ""
    assert "\n" not in line, what
    assert file.name in line, (what, line)
    return line


def refused(file: Path, read: Callable[[], object], error: type[Exception]) -> list[tuple[Keys, Any]]:
    """Changes of a JSON file that its reader refuses, each in a line that names a key of those that lead there."""
    kept, found = file.read_bytes(), []
    for keys, value, content in changed(json.loads(kept)):
        file.write_bytes(content)
        if line := refusal(file, read, error, (keys, value)):
            found.append((keys, value))
            names = "|".join(re.escape(key) for key in keys if isinstance(key, str))
            assert re.search(rf"\b({names})\b", line), (keys, value, line)
    file.write_bytes(kept)
    return found
