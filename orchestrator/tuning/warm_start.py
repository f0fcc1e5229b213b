"""`--warm-start`: a new study begins with what an earlier search of the same space found out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from orchestrator.common.errors import UserError
from orchestrator.config.search import SearchSettings
from orchestrator.storage.mirror import pull
from orchestrator.storage.run_folder import RunFolder
from orchestrator.storage.storage import Storage
from orchestrator.tuning import resume


def finished_trials(settings: SearchSettings, identity: Mapping[str, Any]) -> list[FrozenTrial]:
    """The finished trials of the search `settings.warm_start`, for a study that has asked for none yet.

    Their values will count as the study's own, so task, classes, data and space must be the same.

    Args:
        identity: of the new search.

    Raises:
        UserError: no such search, or another space; the line names the difference.
    """
    name = settings.warm_start
    if (storage := Storage.of(settings.storage)).uri:
        pull(storage)
    before = resume.stored(settings.home, name, "--warm-start")
    files = RunFolder(settings.home / name)
    ledger, study = files.ledger, files.study
    first = ledger.read_text().partition("\n")[0] if ledger.is_file() else ""
    if not first or not study.is_file():
        raise UserError(f"--warm-start {name}: it has no trials yet; resume it, or leave this out")
    other = json.loads(first)["identity"]
    now = {**identity, "batch_size": settings.batch_size}
    for words, mine, its in _compared(now, {**other, "batch_size": before["batch_size"]}):
        if mine != its:
            raise UserError(f"--warm-start {name}: it is of another space: {words} {its} there, {mine} here")
    # Loaded, not created if absent: that would write into a journal that may be another process's.
    journal = JournalStorage(JournalFileBackend(str(study)))
    return optuna.load_study(study_name=name, storage=journal).get_trials(states=(TrialState.COMPLETE,))


def _compared(now: Mapping[str, Any], other: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """What must agree: words, value here, value there."""
    plain = [(words, now[key], other[key]) for words, key in (("task", "task"), ("classes", "classes"))]
    prints = ("data fingerprint", now["data_fingerprint"][:12], other["data_fingerprint"][:12])
    mine, its = ({" ".join(choice[:2]).strip() for choice in found["choices"]} for found in (now, other))
    only = [", ".join(sorted(names)) or "none that differ" for names in (mine - its, its - mine)]
    spaces = [] if mine == its else [("architectures", only[0], only[1])]
    return [*plain, prints, *spaces, ("batch_size", now["batch_size"], other["batch_size"])]
