"""Types of settings: durations, paths, places and stores, as a flag or a line of YAML says them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field

from orchestrator.common.errors import UserError

Given = TypeVar("Given", str, Path)
TaskName = Literal["seg", "cls", "multi"]
DeviceName = Literal["auto", "cpu", "cuda", "mps"]
BestPer = Literal["architecture", "encoder", "search"]
#: Choices of encoder weights that are no folder.
WEIGHTS = ("auto", "imagenet", "none")
#: Bytes of a name in a file system. A search's is also that of its MLflow run, "ensemble of NAME", for which databases
#: have 250 characters; with what temporary folders add, a file system would take 245.
LONGEST, LONGEST_SEARCH = 255, 238
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
SQLITE = "sqlite:///"
OTHER_STORE = "choose another store with --tracking-uri"


def parse_duration(value: Any) -> Any:
    """Seconds from `90s`, `25m`, `2h`, `1d` or a number of seconds."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhd]?)\s*", str(value))
    if value is None:
        return None
    if not match:
        raise ValueError(f"{value!r} is not a duration; write 90s, 25m or 2h")
    return float(match[1]) * UNITS[match[2] or "s"]


def absolute(value: Any) -> Any:
    """The absolute path of a folder or file.

    Raises:
        ValueError: not a path.
    """
    if value is None:
        return None
    if not isinstance(value, str | Path) or not str(value):
        raise ValueError(f"{value!r} is not a path")
    if "://" in str(value):
        raise ValueError(f"{value!r} is not a folder; bring home what is there, and give that (docs/cluster.md)")
    try:
        return path(Path(value).expanduser().absolute())
    except RuntimeError:  # of expanduser
        raise ValueError(f"{str(value)!r}: nobody here is called so; write the folder out") from None


def path(given: Given) -> Given:
    """A path, or an address, as it is given.

    Raises:
        ValueError: a name in it is longer than file systems have.
    """
    for name in str(given).split("/"):
        if len(os.fsencode(name)) > LONGEST:
            raise ValueError(f"{name[:20]}... is a name of more than {LONGEST} bytes, which no folder or file has")
    return given


def text(value: str) -> str:
    """A text as it is given, for Ray, MLflow and safetensors.

    Raises:
        ValueError: it is not UTF-8, which they do not take.
    """
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{value!r} is not UTF-8, as Ray, MLflow and safetensors need it; rename it") from None
    return value


def search_name(value: Any) -> str:
    """What a search is called, which is a folder's name, too.

    Raises:
        ValueError: it cannot be called so.
    """
    if not isinstance(value, str) or not re.fullmatch(r"[\w][\w .-]*", value):
        raise ValueError("letters, digits, space, '.', '-' and '_' only, starting with a letter or digit")
    if len(value.encode()) > LONGEST_SEARCH:
        raise ValueError(f"a name of {len(value.encode())} bytes; at most {LONGEST_SEARCH}")
    return value


def place(value: Any) -> Any:
    """The absolute path of a folder, or a URI as it is.

    Raises:
        ValueError: neither.
    """
    found = value.rstrip("/") if isinstance(value, str) and "://" in value else absolute(value)
    text(str(found))
    return found


def weights_choice(value: Any) -> Any:
    """One of `WEIGHTS`, or the absolute path of a folder.

    Raises:
        ValueError: neither.
    """
    return value if value is None or value in WEIGHTS else text(str(absolute(value)))


def one_of(name: str, allowed: Iterable[str]) -> str:
    """The name itself.

    Raises:
        ValueError: it is none of the allowed.
    """
    if name not in allowed:
        raise ValueError(f"{name!r} is not known; choose from {', '.join(allowed)}")
    return name


class TrackingError(UserError, ValueError):
    """The tracking store cannot be used; the message is one line for the user, and a validator may raise it."""


#: Between the datasets in what data are called.
AND = " + "


def short_source(source: str) -> str:
    """What data are called, without the folders that they lie in."""
    return AND.join(Path(one).name for one in source.split(AND))


def tracking_uri(given: str | None = None) -> str:
    """The tracking URI to use: the given one, `MLFLOW_TRACKING_URI`, or `mlflow.db` here. SQLite paths become absolute.

    Raises:
        TrackingError: not a URI.
    """
    uri = given or os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}mlflow.db"
    if "://" not in uri:
        raise TrackingError(f"{uri} is not a tracking URI; write {SQLITE}{Path(uri).resolve()} or http://HOST:PORT")
    try:
        local = uri.startswith(SQLITE)
        return text(f"{SQLITE}{absolute(uri.removeprefix(SQLITE)).resolve()}" if local else uri)
    except ValueError as error:
        raise TrackingError(str(error)) from None


def shown_uri(uri: str) -> str:
    """The URI without its password."""
    return re.sub(r"://[^@/]*@", "://***@", uri)


def several(value: Any) -> Any:
    """A tuple of what is one or many."""
    return () if value is None else value if isinstance(value, list | tuple) else (value,)


#: The path of a file that is read or written under the name that it is given, and a model's address.
GivenPath = Annotated[Path, AfterValidator(path)]
Address = Annotated[str, AfterValidator(path), AfterValidator(text)]
#: What Ray and MLflow are told.
Text = Annotated[str, AfterValidator(text)]
#: A search; "" for one that a command then names.
SearchName = Annotated[str, AfterValidator(lambda name: search_name(name) if name else "")]
Duration = Annotated[float, BeforeValidator(parse_duration), Field(gt=0)]
Folder = Annotated[Path, BeforeValidator(absolute)]
#: Where networks are written, or read.
NetworkPlace = Annotated[Folder, AfterValidator(lambda folder: Path(text(str(folder))))]
#: Where encoders' weights come from: one of `WEIGHTS`, or a folder.
WeightsChoice = Annotated[str, BeforeValidator(weights_choice)]
#: Files of plugins, which run before settings are validated.
Plugins = Annotated[
    tuple[Folder, ...],
    BeforeValidator(several),
    Field(title="FILE.py", description="register architectures, losses, augmentations or layouts of your own [none]"),
]
#: A folder, or a URI such as s3://bucket/runs.
Place = Annotated[Path | str, BeforeValidator(place)]
#: Address of an MLflow store, absolute; "" for the one that a command then names.
Store = Annotated[str, AfterValidator(lambda uri: tracking_uri(uri) if uri else "")]
#: The same; "" for the one of this machine.
OwnStore = Annotated[str, AfterValidator(tracking_uri)]
