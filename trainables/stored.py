"""Files that this program wrote, read again: people edit them and disks cut them, so nothing in them is trusted."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

T = TypeVar("T")
_adapter: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter)

#: Lists and mappings within each other that a YAML file may have; JSON is refused beyond 200.
DEEPEST = 20


class DamagedError(ValueError):
    """A file that does not hold what was written; its message is one line: which file, where in it, and what."""


def read(file: Path, kind: type[T]) -> T:
    """What a JSON file holds, as the type that it was written from: nothing is converted, as "3" to 3.

    Raises:
        OSError: it cannot be read. DamagedError: it holds something else.
    """
    return parse(file.read_bytes(), kind, str(file))


def read_finite(file: Path, kind: type[T]) -> T:
    """As `read`, of a file whose numbers are all finite."""
    content = file.read_bytes()
    found = parse(content, kind, str(file))
    halves = _with_halves(content)
    if where := _infinite(from_json(content) if halves is None else halves):
        raise DamagedError(f"{file}: {where}: no finite number")
    return found


def parse(content: bytes, kind: type[T], place: str) -> T:
    """As `read`, of what stands at a place.

    Raises:
        DamagedError: it is something else.
    """
    halves, adapter = _with_halves(content), _adapter(kind)
    try:
        found: T = adapter.validate_json(content, strict=True) if halves is None else adapter.validate_python(halves)
    except ValidationError as error:
        raise DamagedError(f"{place}: {told(error)}") from None
    return found


def told(error: ValidationError) -> str:
    """Where the first value lies that a type refused, by its keys, and what is wrong with it: one line."""
    first = error.errors(include_url=False)[0]
    message = first["msg"].removeprefix("Value error, ")
    where = ".".join(map(str, first["loc"]))
    return " ".join(f"{where}: {message[:1].lower()}{message[1:]}".removeprefix(": ").split())[:300]


def read_yaml(file: Path) -> Any:
    """What a YAML file holds, of plain types.

    Raises:
        OSError: it cannot be read. DamagedError: it is no YAML, refers to itself (`*name`, by which a line can stand
            for millions), gives a key twice, or is deeper than `DEEPEST`.
    """
    try:
        return yaml.load(file.read_text(encoding="utf-8"), _PlainLoader)
    except (ValueError, yaml.YAMLError) as error:  # ValueError: no UTF-8, no such day, a number of too many digits
        raise DamagedError(f"{file}: not valid YAML: {' '.join(str(error).split())[:300]}") from None


class _PlainLoader(yaml.SafeLoader):
    """Builds nothing that is larger than the file, and does not recurse without a limit."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError(f"line {line}: write out what *{event.anchor} stands for")
        if self.depth == DEEPEST:
            raise yaml.YAMLError(f"line {line}: deeper than {DEEPEST}")
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        keys = [str(key.value) for key, _ in node.value] if isinstance(node, yaml.MappingNode) else []
        if twice := next((key for key in keys if keys.count(key) > 1), ""):
            raise yaml.YAMLError(f"{twice} is given twice; keep one of the lines")
        return node


def _with_halves(content: bytes) -> Any:
    """What a file holds that has half a surrogate pair, as the name of a file that is no UTF-8; None of any other.

    Pydantic takes these in Python's strings, and in JSON not.
    """
    if rb"\ud" not in content:
        return None
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):  # which is then told
        return None
    try:
        json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return found
    return None


def _infinite(value: Any) -> str:
    """The keys at which a number is not finite; "" where all are."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        if isinstance(inner, float) and not math.isfinite(inner):
            return str(key)
        if where := _infinite(inner):
            return f"{key}.{where}"
    return ""
