"""A command line from a settings model: flags, the YAML file, the first line, and errors of one line."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
import traceback
import typing
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from orchestrator.common import signals
from orchestrator.common.console import complain, say
from orchestrator.common.errors import UserError
from orchestrator.config.command import CommandSettings
from orchestrator.config.plugins import load_plugins
from orchestrator.config.types import several
from trainables import stored
from trainables.data.manifest import DataError
from trainables.stored import DamagedError

#: Exit codes; incomplete is what could not read some of its files.
DONE, FAILED, BAD_INPUT, INCOMPLETE, INTERRUPTED = 0, 1, 2, 3, signals.INTERRUPTED[1]
#: The program that installs with the package.
PROGRAM = "breast-ultrasound"
#: `json_schema_extra` of a tuple that may be given, without a flag.
POSITIONAL: dict[str, Any] = {"positional": True}

Settings = TypeVar("Settings", bound=BaseModel)
Command = TypeVar("Command", bound=CommandSettings)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see --help")


def run_command(
    name: str,
    run: Callable[[Command], object],
    model: type[Command],
    argv: Sequence[str] | None,
    description: str | None,
    *,
    make: Callable[[dict[str, Any]], Command] | None = None,
    log: Callable[[Command], Path] | None = None,
    piped: bool = False,
) -> int:
    """A command, from its words to its exit code; what goes wrong is one line on stderr.

    Args:
        run: the command; its exit code is what it returns, where that is an int, else `DONE`.
        make: makes settings of what was given, where `make_settings` is not all.
        log: the file that takes the traceback of what is nobody's input, in a folder that is there.
        piped: what it says may be cut short by whoever reads it, and then it ends without a word.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names of files are shown, whatever they hold
            stream.reconfigure(errors="backslashreplace")
    if piped and signals.is_ended_at_once():
        signals.end_with_pipe()
    details = here = Path(f"{name}-error.log").absolute()
    try:
        try:
            fields = parse_fields(model, argv, shown_command(name), description)
            settings = make(fields) if make else make_settings(model, fields)
            if log:
                details = log(settings)
            code = run(settings)
            return code if isinstance(code, int) else DONE
        finally:
            signals.settle()
    except (UserError, DataError, DamagedError) as error:
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


def shown_command(name: str) -> str:
    """A command in the words with which this process was started: of the program, or of Python."""
    return f"{PROGRAM} {name}" if Path(sys.argv[0]).stem == PROGRAM else f"python -m orchestrator.{name}"


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
    with contextlib.suppress(OSError):  # nobody reads it any more
        sys.stdout.flush()
    os._exit(code)


def parse_fields(
    model: type[CommandSettings], argv: Sequence[str] | None, prog: str, description: str | None
) -> dict[str, Any]:
    """What the command line gives, over the lines of `--config FILE.yaml`; not validated yet.

    A tuple that must be given, or is marked `POSITIONAL`, has no flag; a field's title is what stands for its value in
    `--help`.

    Raises:
        UserError: an unknown flag, or an unreadable file.
    """
    flags = vars(make_parser(model, prog, description).parse_args(argv))
    file = flags.pop("config", None)
    for name, value in flags.items():
        if any(isinstance(one, str) and not one.strip() for one in several(value)):
            raise UserError(f"{_flag(name)}: given, but empty; leave it out for its default, or name something")
    return {**(_read_yaml(file) if file else {}), **flags}


def make_parser(model: type[CommandSettings], prog: str, description: str | None) -> argparse.ArgumentParser:
    """The parser of a command's flags, in groups, each line with a default; it raises UserError where others exit."""
    parser = _Parser(
        prog=prog,
        description=description,
        epilog="\n".join(["examples:", *(f"  {prog} {words}" for words in model.EXAMPLES)]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE.yaml", help="settings from a file; flags win over it [none]"
    )
    for title, names in model.GROUPS.items():
        group = parser.add_argument_group(title)
        for name in names:
            field = model.model_fields[name]
            dest, words, choices = field.alias or name, _words(field), _choices(field.annotation)
            flag, shown = _flag(dest), field.title or ("{" + ",".join(choices) + "}" if choices else "N")
            if field.annotation is bool:
                group.add_argument(flag, action=argparse.BooleanOptionalAction, help=words, dest=dest)
            elif typing.get_origin(field.annotation) is not tuple:
                group.add_argument(flag, metavar=shown, help=words, dest=dest)
            elif field.is_required() or field.json_schema_extra == POSITIONAL:
                group.add_argument(dest, nargs="+" if field.is_required() else "*", metavar=shown, help=words)
            else:
                group.add_argument(flag, nargs="+", action="extend", metavar=shown, help=words, dest=dest)
    return parser


def given_or_made(
    settings: Settings | None, fields: dict[str, Any], make: Callable[[dict[str, Any]], Settings]
) -> Settings:
    """The settings of a call from Python: given as they are, or made of fields.

    Raises:
        UserError: both are given, or a value is wrong.
    """
    if settings is not None and fields:
        raise UserError("give settings or fields, not both; settings.model_copy(update={...}) changes some")
    if settings is None:
        return make(fields)
    load_plugins(*getattr(settings, "plugin", ()))
    return settings


def make_settings(model: type[Settings], values: dict[str, Any], file: Path | None = None) -> Settings:
    """Validated settings, whose plugins have run.

    Args:
        file: that the values were read from; else they are of a command line.

    Raises:
        UserError: a value is wrong, and the line names the field, the value and what is allowed; or a plugin.
    """
    if "plugin" in model.model_fields:  # what it registers, other values may name
        load_plugins(*(file for file in several(values.get("plugin")) if isinstance(file, str | Path)))
    try:
        return model(**values)
    except UnicodeEncodeError as error:  # pydantic cannot take a message with a name in it that is no UTF-8
        raise UserError(str(error.object)) from None
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        where = "".join(f"{part}: " for part in ((file, name) if file else (name and _flag(name),)) if part)
        message = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            message = f"no such setting; choose from {', '.join(model.model_fields)}"
        elif first["type"] == "missing":
            message = "it must be given; see --help"
        elif first["type"] != "value_error":
            message = f"{message[0].lower()}{message[1:]} (got {repr(first['input'])[:80]})"
        raise UserError(where + message) from None


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _words(field: FieldInfo) -> str:
    """A field's line of `--help`; its default stands in brackets, where the description does not end with them."""
    words, default = (field.description or "").replace("%", "%%"), field.default
    if words.endswith("]"):
        return words
    given = {True: "yes", False: "no"}[default] if isinstance(default, bool) else default
    return f"{words} [{'required' if field.is_required() else given}]"


def _choices(annotation: Any) -> tuple[str, ...]:
    """The names that a field of a `Literal`, or of one or None, may have."""
    if typing.get_origin(annotation) is typing.Literal:
        return typing.get_args(annotation)
    kinds = [kind for kind in typing.get_args(annotation) if kind is not type(None)]
    return _choices(kinds[0]) if len(kinds) == 1 else ()


def _read_yaml(file: Path) -> dict[str, Any]:
    try:
        content = stored.read_yaml(file)
    except OSError as error:
        raise UserError(f"--config {file}: {error.strerror}") from None
    except DamagedError as error:
        raise UserError(f"--config {error}") from None
    if not isinstance(content or {}, dict):
        raise UserError(f"--config {file}: expected lines like 'epochs: 30'")
    keys = [str(key).replace("-", "_") for key in content or {}]
    if twice := next((key for key in keys if keys.count(key) > 1), ""):
        raise UserError(f"--config {file}: {twice} is given twice; keep one of the lines")
    found = {str(name).replace("-", "_"): value for name, value in (content or {}).items()}
    for name, value in found.items():  # what is nested may be endless, written out
        if any(isinstance(one, list | dict) for one in several(value)):
            raise UserError(f"--config {file}: {name}: give one value, or a list of values")
    return found
