"""`--warm-start`: a new study begins with what an earlier search of the same space found out."""

from __future__ import annotations

from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from orchestrator.common.errors import UserError
from orchestrator.config.search import SearchSettings
from orchestrator.storage.mirror import pull
from orchestrator.storage.run_folder import RunFolder
from orchestrator.storage.storage import Storage
from orchestrator.tuning import resume
from orchestrator.tuning.identity import Identity
from orchestrator.tuning.ledger import Ledger
from orchestrator.tuning.searcher import replaying


def finished_trials(settings: SearchSettings, identity: Identity) -> list[FrozenTrial]:
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
    other = Ledger(files.path, hold=False).identity if files.ledger.is_file() else None
    if other is None or not files.study.is_file():
        raise UserError(f"--warm-start {name}: it has no trials yet; resume it, or leave this out")
    batch_sizes = ("batch_size", settings.batch_size, before.get("batch_size"))
    for words, mine, its in (*_compared(identity, other), batch_sizes):
        if mine != its:
            raise UserError(f"--warm-start {name}: it is of another space: {words} {its} there, {mine} here")
    # Loaded, not created if absent: that would write into a journal that may be another process's.
    with replaying(files.study) as journal:
        return optuna.load_study(study_name=name, storage=journal).get_trials(states=(TrialState.COMPLETE,))


def _compared(now: Identity, other: Identity) -> list[tuple[str, Any, Any]]:
    """What must agree: words, value here, value there."""
    plain = [("task", now.task, other.task), ("classes", now.classes, other.classes)]
    prints = ("data fingerprint", now.data_fingerprint[:12], other.data_fingerprint[:12])
    here, there = (" ".join(map(" ".join, found.plugins.items())) or "none" for found in (now, other))
    mine, its = ({" ".join(choice[:2]).strip() for choice in found.choices} for found in (now, other))
    only = [", ".join(sorted(names)) or "none that differ" for names in (mine - its, its - mine)]
    spaces = [] if mine == its else [("architectures", only[0], only[1])]
    return [*plain, prints, ("plugins", here, there), *spaces]
