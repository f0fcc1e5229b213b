"""The study's file: what belongs together is written together, and reads as Optuna's own."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from orchestrator.tuning.searcher import open_study, sampler
from orchestrator.tuning.study_file import StudyFile

TRIALS = 14  # more than are drawn at random


def _drawn(study: optuna.Study, ask: Callable[[], optuna.Trial]) -> list[dict[str, float]]:
    for number in range(TRIALS):
        study.sampler = sampler(0, number)
        if number == 3:
            study.enqueue_trial({"x0": 0.25})
        study.tell(ask(), number / TRIALS)
    return [trial.params for trial in study.trials]


def _asked(study: optuna.Study) -> optuna.Trial:
    trial = study.ask()
    for i in range(5):
        trial.suggest_float(f"x{i}", 0, 1)
    return trial


def test_what_is_asked_together_is_written_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(tmp_path / "plain"))), direction="maximize"
    )
    expected = _drawn(plain, lambda: _asked(plain))

    study = open_study(tmp_path, "s")
    file = study._storage._backend  # type: ignore[attr-defined]
    assert isinstance(file, StudyFile)
    synced = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda number: (synced.append(number), real(number)))

    def ask() -> optuna.Trial:
        with file.together():
            return _asked(study)

    assert _drawn(study, ask) == expected
    assert len(synced) == 2 * TRIALS + 1, "one for each ask, each value told, and what was enqueued"
    again = optuna.load_study(
        study_name="s", storage=JournalStorage(JournalFileBackend(str(tmp_path / "study.journal")))
    )
    assert [trial.params for trial in again.trials] == expected


def test_what_ends_an_ask_leaves_no_half_of_it(tmp_path: Path) -> None:
    study = open_study(tmp_path, "s")
    file = study._storage._backend  # type: ignore[attr-defined]

    def interrupted() -> None:
        with file.together():
            _asked(study)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    (trial,) = open_study(tmp_path, "s").trials
    assert trial.params.keys() == {f"x{i}" for i in range(5)}
