"""Going on with a search: its stored settings, and what may not differ from them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from orchestrator.common.errors import UserError
from orchestrator.config.cli import make_settings
from orchestrator.config.plugins import load_plugins
from orchestrator.config.search import SearchSettings
from orchestrator.config.types import SQLITE, TaskName, place, search_name, several
from orchestrator.storage.atomic import write_text
from orchestrator.storage.mirror import pull
from orchestrator.storage.run_folder import NAMES, RunFolder
from orchestrator.storage.storage import HOME, Storage
from orchestrator.tuning.identity import Identity
from orchestrator.tuning.ledger import TrialRecord
from orchestrator.tuning.moved import relocated
from trainables import unfinished
from trainables.stored import DamagedError, read_yaml, told

#: What to do about stored settings that are damaged.
AGAIN = "bring the file back from a copy"
#: What may be given anew; all else makes another search. `data` and `plugin` may have moved: the fingerprint and the
#: digests are compared. A store or an experiment that has not the search's runs gets them from the ledger.
CHANGEABLE = {
    *("resume", "trials", "trials_per_arch", "time_budget", "gpu_hours", "max_concurrent", "cpus_per_trial"),
    *("gpus_per_trial", "dashboard", "data", "storage", "tracking_uri", "experiment", "address", "strict", "plugin"),
    *("ensemble", "top_k", "boost_rounds"),
}


class _Stored(BaseModel, strict=True):
    """What stored settings must have; the rest is checked with them, or has a default."""

    task: TaskName
    name: str
    storage: str
    tracking_uri: str
    image_size: int
    folds: int | str
    epochs: int
    trials: int
    plugin: list[str] = []
    plugins: dict[str, str] = {}


def load(fields: Mapping[str, Any]) -> SearchSettings:
    """Settings of a search; where `resume` names one, its own under those of `fields` that are given anew.

    Under a URI another host may have gone on with it: what is there is fetched first.

    Raises:
        UserError: a setting is wrong, there is no such search, or it would become another one.
    """
    name = fields.get("resume")
    if not name:
        return make_settings(SearchSettings, dict(fields))
    home = _home(fields.get("storage"), name)
    before = stored(home, name)
    run_plugins(before, fields.get("plugin"), f"--resume {name}")
    own = make_settings(SearchSettings, {**before, "resume": name}, RunFolder(home / name).settings)
    before = {field: value for field, value in own.model_dump(mode="json").items() if field in before}
    if fields.get("task", before["task"]) != before["task"]:  # other fields are checked by the task's own lists
        raise UserError(f"--resume {name}: {differences({**before, 'task': fields['task']}, before)}")
    # Without what is None: a stored search has its defaults already.
    given = {field: value for field, value in fields.items() if value is not None}
    # What was limited may be without a limit from now on.
    given |= {limit: None for limit in ("time_budget", "gpu_hours") if given.get(limit) == "none"}
    if given.get("trials"):
        given = {"trials_per_arch": None, **given}
    elif given.get("trials_per_arch") and not before.get("trials_per_arch"):
        raise UserError(f"--resume {name}: it was begun with --trials; raise that")
    settings = make_settings(SearchSettings, {**before, **given})
    if other := differences(settings.model_dump(mode="json"), before):
        raise UserError(f"--resume {name}: {other}")
    store = settings.tracking_uri.removeprefix(SQLITE)
    begun = settings.files.ledger.is_file() and settings.files.ledger.stat().st_size
    if begun and not given.get("tracking_uri") and store != settings.tracking_uri and not Path(store).is_file():
        raise UserError(
            f"--resume {name}: its MLflow store {store} is not there; give --tracking-uri where it is, or where "
            "another is to be, which gets its runs"
        )
    return settings


def run_plugins(values: dict[str, Any], given: Any, who: str) -> None:
    """Run the plugins of stored settings, and take their digests out of these, which are then those of a command.

    Args:
        values: settings as `stored` gives them. given: files of plugins that may have moved.

    Raises:
        UserError: one is not there, or has changed.
    """
    needed = values.pop("plugins", {})
    load_plugins(*several(given))
    try:
        load_plugins(*several(values.get("plugin")), needed=needed)
    except UserError as error:
        raise UserError(f"{who}: {error}") from None


def _home(storage: Any, name: str) -> Path:
    """Where a search that is to go on lies on this host; one that is here says itself under which URI it belongs."""
    _checked(name, "--resume")
    try:
        there = Storage.of(place(storage or HOME))
        if not storage and (there.home / name).is_dir():
            there = Storage.of(place(stored(there.home, name)["storage"]))
    except ValueError as error:
        raise UserError(f"--storage: {error}") from None
    if there.uri:
        pull(there, name)
    return there.home


def stored(storage: Path, name: str, flag: str = "--resume") -> dict[str, Any]:
    """The settings that a search was started with, with paths as they are where it is now; `flag` is who asks.

    Raises:
        UserError: there is no such search, and the line lists those there are; or its settings cannot be read.
    """
    file = RunFolder(storage / _checked(name, flag)).settings
    if not file.is_file():
        there = sorted(path.parent.name for path in storage.glob(f"*/{NAMES.settings}"))
        found = f"there are {', '.join(there)}" if there else "there is none"
        raise UserError(f"{flag}: no search {name!r} in {storage} ({found}); give --storage where it is elsewhere")
    try:
        values: dict[str, Any] = read_yaml(file)
        own = _Stored.model_validate(values)
    except OSError as error:
        raise UserError(f"{flag} {name}: {file}: {error.strerror}") from None
    except DamagedError as error:
        raise UserError(f"{flag} {name}: {error}; {AGAIN}") from None
    except ValidationError as error:
        raise UserError(f"{flag} {name}: {file}: {told(error)}; {AGAIN}") from None
    if own.name != name:
        raise UserError(f"{flag} {name}: {file} is of a search of another name; {AGAIN}")
    return relocated(values, storage)


def _checked(name: object, flag: str) -> str:
    try:
        return search_name(name)
    except ValueError as error:
        raise UserError(f"{flag} {str(name)[:40]!r}: {error}") from None


def make_folder(folder: Path, settings: Mapping[str, Any]) -> None:
    """A new search's folder, with its settings from the first moment: a search that dies at once can be resumed.

    Raises:
        UserError: it is there already.
    """
    with unfinished.beside(folder) as part:
        part.mkdir(parents=True)
        write(part, settings)
        try:
            part.rename(folder)
        except OSError:
            raise UserError(f"--name {folder.name}: {folder} exists already; choose another name") from None


def drop_strays(folder: Path, record: TrialRecord, storage: Storage) -> None:
    """Delete checkpoints of a trial that the ledger does not name: they are half-written, or were to be deleted."""
    for launch in storage.children(RunFolder(folder).tune):
        for start in storage.children(launch):
            # Tune adds to the name where a trial starts again in the same launch.
            for path in storage.children(start) if start.name.startswith(record.trial_id) else []:
                if path.name.startswith("checkpoint_") and str(path.relative_to(folder)) != record.checkpoint:
                    storage.delete(path)


def write(folder: Path, settings: Mapping[str, Any]) -> None:
    """Keep the settings of a search, whole or not at all."""
    write_text(RunFolder(folder).settings, yaml.safe_dump(dict(settings), sort_keys=False))


def differences(settings: Mapping[str, Any], before: Mapping[str, Any]) -> str:
    """The first setting that makes this another search than `before`, in words; "" if there is none."""
    for name, value in before.items():
        if name not in CHANGEABLE and settings.get(name) != value:
            flag, given = "--" + name.replace("_", "-"), _shown(settings.get(name))
            return f"{flag} is {_shown(value)} in this search, not {given}; leave it out, or start another search"
    return ""


def check_identity(now: Identity, before: Identity, name: str) -> None:
    """Refuse to go on with other data, weights or plugins, or with another way from an image to a batch.

    Raises:
        UserError: the difference, in words.
    """
    prints = {
        "data fingerprint": (now.data_fingerprint, before.data_fingerprint),
        "prepared fingerprint": (now.prepared_fingerprint, before.prepared_fingerprint),
    }
    for words, (here, there) in prints.items():
        if here != there:
            raise UserError(
                f"--resume {name}: the data are not those of this search ({words} {here[:12]}, not "
                f"{there[:12]}): files, labels, groups or split have changed; start another search"
            )
    for encoder, kind in before.weights.items():
        if now.weights.get(encoder) != kind:
            raise UserError(
                f"--resume {name}: weights of {encoder} were {kind} and are {now.weights.get(encoder)} here; "
                "install or give them (--weights) as before, or start another search"
            )
    if now.plugins != before.plugins:
        here, there = (", ".join(found) or "none" for found in (now.plugins, before.plugins))
        changed = "have changed" if here == there else f"are {here}, and were {there}"
        raise UserError(f"--resume {name}: plugins {changed}; give the files as they were, or start another search")
    if now.augmented_on != before.augmented_on:
        here, there = now.augmented_on.upper(), before.augmented_on.upper()
        raise UserError(
            f"--resume {name}: its images were augmented on a {there} and would be on a {here} here, so trials would "
            "not compare; resume it as before, or start another search"
        )


def _shown(value: Any) -> str:
    return json.dumps(value) if not isinstance(value, str) else value or '""'
