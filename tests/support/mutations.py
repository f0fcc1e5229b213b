"""Files as people, disks and other programs leave them: one value changed, or cut; and what a reader may do then."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

#: What a value is changed to: nothing, other types, and numbers and paths that no one means.
NONSENSE: tuple[Any, ...] = (None, "", "../../etc", -1, 10**9, 1e300, float("nan"), True, [], {}, [None])
REMOVED = object()
Keys = tuple[str | int, ...]


def changed(plain: Any) -> Iterator[tuple[Keys, Any, Any]]:
    """Every value of JSON by its keys, what it is changed to, and the whole with that change."""
    for keys in _places(plain):
        for value in (*NONSENSE, REMOVED):
            whole = copy.deepcopy(plain)
            holder = whole
            for key in keys[:-1]:
                holder = holder[key]
            if value is REMOVED:
                del holder[keys[-1]]
            else:
                holder[keys[-1]] = copy.deepcopy(value)
            yield keys, value, whole


def cut(content: bytes) -> Iterator[bytes]:
    """Cut off, empty, of zeros, of another kind, and nested beyond any need."""
    yield from (content[: len(content) * part // 7] for part in range(7))
    yield from (bytes(len(content)), b"\x89PNG\r\n\x1a\n" + content[:9], b"[" * 100_000, b"null", b"[]", b"{}", b"3")


def survive(file: Path, read: Callable[[], object], error: type[Exception], what: object = "") -> bool:
    """Whether a file is read; where not, one line has to name it and something in it."""
    try:
        read()
    except error as told:
        assert "\n" not in str(told), what
        assert file.name in str(told), (what, str(told))
        return False
    return True


def refused(file: Path, read: Callable[[], object], error: type[Exception]) -> list[tuple[Keys, Any]]:
    """Changes of a JSON file that its reader refuses, each in a line that names the key."""
    plain, found = json.loads(file.read_text()), []
    for keys, value, whole in changed(plain):
        file.write_text(json.dumps(whole))
        if not survive(file, read, error, (keys, value)):
            found.append((keys, value))
            line = _line(read, error)
            names = [key for key in keys if isinstance(key, str)]
            assert any(re.search(rf"\b{re.escape(name)}\b", line) for name in names), (keys, value, line)
    file.write_text(json.dumps(plain))
    return found


def _line(read: Callable[[], object], error: type[Exception]) -> str:
    try:
        read()
    except error as told:
        return str(told)
    raise AssertionError("read after all")


def _places(plain: Any, keys: Keys = ()) -> Iterator[Keys]:
    items = plain.items() if isinstance(plain, dict) else enumerate(plain[:2]) if isinstance(plain, list) else ()
    for key, inner in items:
        yield (*keys, key)
        yield from _places(inner, (*keys, key))
