"""A command line from a settings model: flags, the YAML file, the first line, and errors of one line."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import traceback
import typing
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError

from orchestrator.common import signals
from orchestrator.common.console import complain, say
from orchestrator.common.errors import UserError
from trainables.data.manifest import DataError

#: Exit codes; incomplete is what could not read some of its files.
DONE, FAILED, BAD_INPUT, INCOMPLETE, INTERRUPTED = 0, 1, 2, 3, signals.INTERRUPTED[1]

#: `json_schema_extra` of a tuple that may be given, without a flag.
POSITIONAL: dict[str, Any] = {"positional": True}

Settings = TypeVar("Settings", bound=BaseModel)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see --help")


def run_command(
    name: str,
    run: Callable[[Settings], object],
    model: type[Settings],
    argv: Sequence[str] | None,
    description: str | None,
    *,
    make: Callable[[dict[str, Any]], Settings] | None = None,
    log: Callable[[Settings], Path] | None = None,
) -> int:
    """`python -m orchestrator.NAME`, from its words to its exit code; what goes wrong is one line on stderr.

    Args:
        run: the command; its exit code is what it returns, where that is an int, else `DONE`.
        make: makes settings of what was given, where `make_settings` is not all.
        log: the file that takes the traceback of what is nobody's input, in a folder that is there.
    """
    details = here = Path(f"{name}-error.log").absolute()
    try:
        fields = parse_fields(model, argv, f"python -m orchestrator.{name}", description)
        settings = make(fields) if make else make_settings(model, fields)
        if log:
            details = log(settings)
        code = run(settings)
        return code if isinstance(code, int) else DONE
    except (UserError, DataError) as error:
        complain(f"error: {error}")
        return BAD_INPUT
    except KeyboardInterrupt as error:
        words, code = signals.TERMINATED if isinstance(error, signals.Terminated) else signals.INTERRUPTED
        complain(words)
        return code
    except Exception as error:
        details = details if details.parent.is_dir() else here
        with contextlib.suppress(OSError), details.open("a", errors="backslashreplace") as file:  # the disk may be full
            traceback.print_exc(file=file)
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1]  # Tune wraps a whole traceback
        complain(f"failed: {reason}; details in {details}")
        return FAILED


@contextlib.contextmanager
def starting(line: str, tell: Callable[[str], None] = say) -> Iterator[None]:
    """The imports of what a command works with: seconds in which it has said its first line.

    Until their end a signal ends the command at once, from then on by an exception. Nothing is said to callers from
    Python, nor are their signals touched.
    """
    if signals.is_ended_at_once():
        tell(line)
    yield
    signals.unwind()


def leave(code: int) -> NoReturn:
    """End this process; threads of libraries must not keep a finished command alive."""
    sys.stdout.flush()
    os._exit(code)


def parse_fields(
    model: type[BaseModel], argv: Sequence[str] | None, prog: str, description: str | None
) -> dict[str, Any]:
    """What the command line gives, over the lines of `--config FILE.yaml`; not validated yet.

    A tuple that must be given, or is marked `POSITIONAL`, has no flag, nor has a field without a description; a field's
    title is what stands for its value in `--help`.

    Raises:
        UserError: an unknown flag, or an unreadable file.
    """
    parser = _Parser(prog=prog, description=description, allow_abbrev=False, argument_default=argparse.SUPPRESS)
    parser.add_argument("--config", type=Path, metavar="FILE.yaml", help="settings from a file; flags win over it")
    for name, field in model.model_fields.items():
        dest, words, choices = field.alias or name, field.description, _choices(field.annotation)
        if not words:
            continue
        flag = _flag(dest)
        if field.annotation is bool:
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, help=words, dest=dest)
        elif typing.get_origin(field.annotation) is not tuple:
            shown = field.title or ("{" + ",".join(choices) + "}" if choices else name.rsplit("_", 1)[-1].upper())
            parser.add_argument(flag, metavar=shown, help=words, dest=dest)
        elif field.is_required() or field.json_schema_extra == POSITIONAL:
            parser.add_argument(dest, nargs="+" if field.is_required() else "*", metavar=field.title, help=words)
        else:
            parser.add_argument(flag, nargs="+", action="extend", metavar=field.title or "NAME", help=words, dest=dest)
    flags = vars(parser.parse_args(argv))
    file = flags.pop("config", None)
    return {**(_read_yaml(file) if file else {}), **flags}


def given_or_made(
    settings: Settings | None, fields: dict[str, Any], make: Callable[[dict[str, Any]], Settings]
) -> Settings:
    """The settings of a call from Python: given as they are, or made of fields.

    Raises:
        UserError: both are given, or a value is wrong.
    """
    if settings is not None and fields:
        raise UserError("give settings or fields, not both; settings.model_copy(update={...}) changes some")
    return make(fields) if settings is None else settings


def make_settings(model: type[Settings], values: dict[str, Any]) -> Settings:
    """Validated settings.

    Raises:
        UserError: a value is wrong; the line names the field, the value and what is allowed.
    """
    try:
        return model(**values)
    except ValidationError as error:
        first = error.errors()[0]
        where = f"{_flag(str(first['loc'][0]))}: " if first["loc"] else ""
        message = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            message = f"no such setting; choose from {', '.join(model.model_fields)}"
        elif first["type"] == "missing":
            message = "it must be given; see --help"
        elif first["type"] != "value_error":
            message = f"{message[0].lower()}{message[1:]} (got {first['input']!r})"
        raise UserError(where + message) from None


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _choices(annotation: Any) -> tuple[str, ...]:
    """The names that a field of a `Literal`, or of one or None, may have."""
    if typing.get_origin(annotation) is typing.Literal:
        return typing.get_args(annotation)
    kinds = [kind for kind in typing.get_args(annotation) if kind is not type(None)]
    return _choices(kinds[0]) if len(kinds) == 1 else ()


def _read_yaml(file: Path) -> dict[str, Any]:
    import yaml

    try:
        content = yaml.safe_load(file.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = getattr(error, "strerror", None) or "not valid YAML: " + " ".join(str(error).split())
        raise UserError(f"--config {file}: {reason}") from None
    if not isinstance(content or {}, dict):
        raise UserError(f"--config {file}: expected lines like 'epochs: 30'")
    return {str(name).replace("-", "_"): value for name, value in (content or {}).items()}
