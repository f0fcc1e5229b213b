"""Which ensembles of a storage folder a report can show: those whose test predictions are stored."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.common.errors import UserError
from orchestrator.config.search import SearchSettings
from orchestrator.ensemble.candidates import search_settings
from orchestrator.ensemble.result import EnsembleResult
from orchestrator.scoring.predictions import TEST, UNREADABLE, TestPredictions
from orchestrator.storage.run_folder import NAMES
from orchestrator.tuning.moved import relocated
from trainables.stored import DamagedError

TITLES = {"seg": "segmentation", "cls": "classification", "multi": "multi-task"}


@dataclass(frozen=True, eq=False)
class Entry:
    """An `ensemble.json` that can be shown: its search, when it was written, what it says, its test predictions."""

    search: SearchSettings
    written: float
    ensemble: EnsembleResult
    tested: TestPredictions

    @property
    def fingerprint(self) -> str:
        """Of the data."""
        return self.ensemble.data.fingerprint


def named(storage: Path, names: Sequence[str]) -> list[Entry]:
    """The ensembles of these searches.

    Raises:
        UserError: there is no such search, two are of one task, one cannot be shown, or they are of different data.
    """
    names = list(dict.fromkeys(names))
    searches = [search_settings(storage, name) for name in names]
    for task in TITLES:
        if len(alike := [search.name for search in searches if search.task == task]) > 1:
            raise UserError(f"--name: {' and '.join(alike)} are both of task {task}; give one search of each task")
    entries = [_entry(search) for search in searches]
    if len({entry.fingerprint for entry in entries}) > 1:
        prints = ", ".join(f"{entry.search.name} {entry.fingerprint[:12]}" for entry in entries)
        raise UserError(f"--name: searches of different data are not compared (data fingerprints: {prints})")
    return entries


def newest(storage: Path) -> tuple[list[Entry], list[str]]:
    """The newest ensemble of each task on the data of the newest of all, and what is not shown, a line each.

    Raises:
        UserError: there is none.
    """
    entries, notes = list[Entry](), list[str]()
    for name in sorted(file.parent.name for file in storage.glob(f"*/{NAMES.ensemble_report}")):
        try:
            entries.append(_entry(search_settings(storage, name)))
        except UserError as error:
            notes.append(f"not shown: {error}")
    if not entries:
        why = "; ".join(notes) or "end a search, or run `python -m orchestrator.ensemble`"
        raise UserError(f"no ensemble to report on in {storage} ({why}); give --storage where it is elsewhere")
    entries.sort(key=lambda entry: entry.written, reverse=True)
    same = [entry for entry in entries if entry.fingerprint == entries[0].fingerprint]
    chosen = list({entry.search.task: entry for entry in reversed(same)}.values())
    older = [entry.search.name for entry in same if entry not in chosen]
    other = [entry.search.name for entry in entries if entry not in same]
    for words, left in (("older ensembles of these data", older), ("ensembles of other data", other)):
        if left:
            notes.append(f"not shown, {words}: {', '.join(left)} (--name shows one)")
    return chosen, notes


def _entry(search: SearchSettings) -> Entry:
    """The ensemble of a search with its test predictions.

    Raises:
        UserError: there is none, or not all of it.
    """
    words = ["python", "-m", "orchestrator.ensemble", "--task", search.task, "--name", search.name]
    if search.storage != Path("runs").absolute():
        words += ["--storage", str(search.storage)]
    again = f"run {shlex.join(words)}"
    file = search.files.ensemble_report
    try:
        found = EnsembleResult.read(file)
        found = found.model_copy(update={"settings": relocated(found.settings, search.home)})
        written = file.stat().st_mtime
    except FileNotFoundError:
        raise UserError(f"--name {search.name}: it has no ensemble yet; {again}") from None
    except DamagedError as error:
        raise UserError(f"{error}: damaged, or of an older version; {again}") from None
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}; {again}") from None
    try:
        return Entry(search, written, found, TestPredictions.load(search.files.winners / found.digest / TEST))
    except UNREADABLE:
        raise UserError(f"the stored test predictions of {search.name} are not in {search.cache}; {again}") from None
