"""The Optuna study behind Tune: journal storage, sampler, first points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from orchestrator.budget import Budget

STUDY_FILE = "study.journal"


class StudySearch(OptunaSearch):
    """Ray's OptunaSearch on a study of its own, which suggests nothing once the budget is over."""

    def __init__(
        self,
        space: Callable[[optuna.Trial], dict[str, Any]],
        *,
        name: str,
        folder: Path,
        metric: str,
        seed: int,
        first_points: Sequence[dict[str, Any]],
        budget: Budget,
    ) -> None:
        storage = JournalStorage(JournalFileBackend(str(folder / STUDY_FILE)))
        # Grouped, because which parameters exist depends on the architecture; the liar spreads concurrent trials out.
        sampler = optuna.samplers.TPESampler(multivariate=True, group=True, constant_liar=True, seed=seed)
        super().__init__(
            space,
            metric=metric,
            mode="max",
            points_to_evaluate=list(first_points),
            sampler=sampler,
            study_name=name,
            storage=storage,
        )
        self._budget = budget

    def suggest(self, trial_id: str) -> Any:
        """The next configuration; names with a dot are Optuna's own, of parameters that depend on the architecture."""
        if self._budget.over():
            return Searcher.FINISHED
        config = super().suggest(trial_id)
        return config and {name: value for name, value in config.items() if "." not in name}

    def close(self) -> None:
        """Close trials that were stopped before a result: left RUNNING, they would steer a later sampler away."""
        study = self._ot_study
        assert study is not None
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            study.tell(trial.number, state=TrialState.FAIL)
