"""What a search needs of this machine and folder, looked at in seconds: packages, devices, places, weights, data."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from orchestrator.common.console import complain, say, threads
from orchestrator.common.errors import UserError
from orchestrator.config.cli import DONE, FAILED, leave, run_command, starting
from orchestrator.config.data import DataSettings
from orchestrator.config.search import SearchSettings
from orchestrator.config.types import SQLITE, Folder, OwnStore, Place, WeightsChoice, shown_uri
from orchestrator.storage.storage import HOME, Storage

PACKAGES = ("torch", "torchvision", "timm", "ray", "optuna", "mlflow")


class CheckSettings(DataSettings):
    """Settings of one look; what a search is to be given."""

    GROUPS: ClassVar[dict[str, tuple[str, ...]]] = {
        "data": ("data", "layout", "patient", "resize_masks", "plugin"),
        "weights": ("weights",),
        "where things go": ("storage", "tracking_uri"),
    }
    EXAMPLES: ClassVar[tuple[str, ...]] = ("", "--data path/to/images --weights weights")

    data: tuple[Folder, ...] = Field(
        (), title="DIR|FILE.csv", description="folders of images, or CSV tables, that are read and checked, too [none]"
    )
    weights: WeightsChoice = Field(
        "auto", title="auto|DIR", description="encoder weights; DIR: a folder of <timm name>.safetensors"
    )
    storage: Place = Field(
        HOME, validate_default=True, title="DIR|URI", description="folder for runs, or s3://BUCKET/PREFIX"
    )
    tracking_uri: OwnStore = Field(
        "",
        validate_default=True,
        title="URI",
        description="MLflow store [MLFLOW_TRACKING_URI, else mlflow.db in this folder]",
    )


def check(settings: CheckSettings) -> int:
    """Say what is there and what is amiss, and keep nothing; returns the exit code, which is 1 where something is.

    Raises:
        UserError: the data cannot be used.
    """
    # The hub is not asked; before the imports, at which its library reads this.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    with starting("check of this machine: loading torch and MLflow"):
        from orchestrator.config import loading

    say(f"system  {platform.system()} {platform.machine()}, Python {platform.python_version()}")
    say(f"        {', '.join(f'{name} {version(name)}' for name in PACKAGES)}")
    amiss = 0
    looks: dict[str, Callable[[CheckSettings], Iterator[str]]] = {
        "device": _device,
        "storage": _storage,
        "store": _store,
        "weights": _weights,
    }
    for name, look in looks.items():
        try:
            for line in look(settings):
                say(f"{name:7} {line}")
        except (UserError, OSError, ValueError, RuntimeError) as error:
            complain(f"{name:7} AMISS: {error}")
            amiss += 1
    if settings.data:
        fields = settings.model_dump(include=set(DataSettings.model_fields), exclude_defaults=True)
        with tempfile.TemporaryDirectory(prefix="check-") as scratch:
            loading.load(SearchSettings(**fields, storage=Path(scratch)))
    say(f"{amiss} of these are amiss" if amiss else "all is well")
    return FAILED if amiss else DONE


def _device(settings: CheckSettings) -> Iterator[str]:
    import torch

    from trainables.devices import try_out

    memory = ""
    with suppress(AttributeError, ValueError, OSError):  # not on Windows
        memory = f", {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB of memory"
    yield f"{threads()} cores{memory}"
    for number in range(torch.cuda.device_count()):
        yield f"GPU {number}: {torch.cuda.get_device_name(number)}"
    if torch.cuda.is_available():
        try_out()
    elif torch.backends.mps.is_available():
        yield "Apple's GPU, for predict and evaluate with --device mps; searches use the cores"
    else:
        yield f"no GPU for torch {torch.__version__}: cores do the work"


def _storage(settings: CheckSettings) -> Iterator[str]:
    storage = Storage.of(settings.storage)
    if problem := storage.trouble():
        raise OSError(f"--storage {settings.storage}: {problem}")
    yield f"{storage.shown(storage.home)}; here are {_room(storage.home):.0f} GB free"


def _store(settings: CheckSettings) -> Iterator[str]:
    from orchestrator.tracking.client import open_store

    uri = settings.tracking_uri
    file = Path(uri.removeprefix(SQLITE))
    if not uri.startswith(SQLITE) or file.exists():
        open_store(uri, create=uri.startswith(SQLITE))
        yield shown_uri(uri)
    else:
        _room(file.parent)
        yield f"{shown_uri(uri)}, which the first search makes"


def _weights(settings: CheckSettings) -> Iterator[str]:
    from search_spaces import SPACES
    from trainables.models import weights

    encoders = {name for space in SPACES.values() for one in space.ARCHITECTURES.values() for name in one.encoders}
    found = {name: weights.find(name, settings.weights).kind for name in sorted(encoders)}
    here = {name: kind for name, kind in found.items() if kind != weights.RANDOM}
    yield "".join(f"{name} ({kind}), " for name, kind in here.items()) + (
        f"of {len(found)} encoders; the others' come from the hub, or training begins at random"
    )


def _room(folder: Path) -> float:
    """GB that are free for a folder, which need not be there.

    Raises:
        UserError: nothing can be written there.
    """
    there = next(one for one in (folder, *folder.parents) if one.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            return shutil.disk_usage(there).free / 1e9
    except OSError as error:
        raise UserError(f"{folder}: {there} cannot be written to ({error.strerror}); name another place") from None


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return run_command("check", check, CheckSettings, argv, __doc__)


if __name__ == "__main__":
    leave(main())
