"""What Tune tries next: unfinished trials of earlier launches, those promoted, and what the Optuna study suggests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.storages import JournalStorage
from optuna.trial import TrialState, create_trial
from ray import tune
from ray.train._internal.session import _TrainingResult
from ray.tune.experiment import Trial
from ray.tune.experiment.config_parser import _create_trial_from_spec, _make_parser
from ray.tune.search.search_algorithm import SearchAlgorithm

from orchestrator.common.errors import UserError, first_line
from orchestrator.storage.run_folder import RunFolder, cut_torn_line
from orchestrator.tuning.budget import TuneResult
from orchestrator.tuning.ledger import TrialRecord
from orchestrator.tuning.rungs import Rungs
from orchestrator.tuning.search_run import SearchRun
from orchestrator.tuning.study_file import StudyFile

#: What Optuna is told of a trial that never had a value: the worst of Dice, AUROC and their mean.
WORST = 0.0


def mend_study(folder: Path) -> None:
    """Take away what a crash leaves of a study: half a line, and a lock. For who holds the search's ledger."""
    study = RunFolder(folder).study
    cut_torn_line(study)
    study.with_name(f"{study.name}.lock").unlink(missing_ok=True)


@contextmanager
def replaying(study: Path) -> Iterator[JournalStorage]:
    """The storage in a study's file, while it is read for the first time.

    Raises:
        UserError: the file is damaged.
    """
    try:
        yield JournalStorage(StudyFile(str(study)))
    except OSError:
        raise
    except Exception as error:  # Optuna replays whatever stands in the file, and names no errors
        words = f"damaged ({type(error).__name__}: {first_line(error)})"
        raise UserError(f"{study}: {words}; bring it back from a copy, or start another search") from None


def open_study(folder: Path, name: str) -> optuna.Study:
    """The study of a search, created if absent; `optuna-dashboard` opens the file, too.

    Raises:
        UserError: its file is damaged.
    """
    with replaying(RunFolder(folder).study) as storage:
        return optuna.create_study(study_name=name, storage=storage, direction="maximize", load_if_exists=True)


def sampler(seed: int, number: int) -> optuna.samplers.TPESampler:
    """The sampler of one trial: what it draws follows from the search's seed and the trial's number."""
    drawn = np.random.SeedSequence((seed, number)).generate_state(1)[0]
    # Grouped, because which parameters exist depends on the architecture; the liar spreads concurrent trials out.
    return optuna.samplers.TPESampler(multivariate=True, group=True, constant_liar=True, seed=int(drawn))


class StudySearch(SearchAlgorithm):
    """Tune's search algorithm over an Optuna study and the ledger.

    Not Ray's OptunaSearch: that cannot go on with a trial of an earlier launch, nor raise the number of trials, and it
    enqueues its first points again. What a suggestion draws at random follows from (seed, number of the trial), so a
    resumed search suggests what an uninterrupted one would. Optuna is told the value that a trial ends or waits with.

    Args:
        run: the launch of a search.
        study: of the search.
        rungs: where its trials wait.
        slots: how many trials may run at a time, by now.
    """

    def __init__(self, run: SearchRun, study: optuna.Study, rungs: Rungs, slots: Callable[[], int]) -> None:
        self._run, self._study, self._ledger, self._rungs, self._slots = run, study, run.ledger, rungs, slots
        self._queue = run.ledger.unfinished()  # known, and to be started
        self._live: set[str] = set()
        self._failed: list[TrialRecord] = []
        self._parser, self._spec = _make_parser(), dict[str, object]()
        storage: Any = study._storage
        self._together = storage._backend.together  # of its `StudyFile`
        self._reconcile()

    def __getstate__(self) -> dict[str, object]:
        # Tune pickles it with its state, which nobody reads: the ledger is what a search resumes from.
        return {}

    @property
    def total_samples(self) -> int:
        """Trials that this launch is yet to start, those left out that wait at a rung."""
        return len(self._queue) + self._left

    def add_configurations(self, experiments: Any) -> None:
        """Tune says what a trial is made of."""
        (experiment,) = experiments if isinstance(experiments, list) else [experiments]
        self._spec = experiment.spec

    def is_finished(self) -> bool:
        """Whether no trial is left to start: none that runs can have one promoted, either."""
        self._tell_failed()
        if self._finished or self._run.budget.over():
            return True
        if not (self.total_samples or self._live):
            self._promote(last=True)
        return not (self.total_samples or self._live)

    def next_trial(self) -> Trial | None:
        """The next trial, or None while all slots are taken, or no trial is to be started before another has ended."""
        if self.is_finished() or len(self._live) >= self._slots():
            return None
        if not self._queue:
            self._promote(last=not self._left)  # a slot that is free trains what may yet be outdone rather than nothing
        if not self.total_samples:
            return None
        record = self._queue.pop(0) if self._queue else self._ask()
        self._live.add(record.trial_id)
        trial: Trial = _create_trial_from_spec(
            {**self._spec, "config": record.config},
            self._parser,
            trial_id=record.trial_id,
            experiment_tag=str(record.number),
        )
        if record.checkpoint:
            where = self._run.storage.where(self._ledger.folder / record.checkpoint)
            checkpoint = tune.Checkpoint(where, filesystem=self._run.storage.filesystem)
            done = {**record.result, "training_iteration": record.checkpoint_epoch}
            trial.on_checkpoint(_TrainingResult(checkpoint=checkpoint, metrics=done))
        return trial

    def on_trial_complete(self, trial_id: str, result: TuneResult | None = None, error: bool = False) -> None:
        """A trial ended, or failed."""
        self._live.discard(trial_id)
        record = self._ledger.trials[trial_id]
        if error:
            self._failed.append(record)  # the ledger is yet to hear of it, and decides whether it may go on
        elif result and self._run.metric in result:
            self._tell(record, result[self._run.metric])

    def close(self) -> None:
        """Close what was stopped before a result: left RUNNING, it would steer a later sampler away."""
        self._tell_failed()
        with self._together():
            for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                self._study.tell(trial.number, state=TrialState.FAIL)

    @property
    def _left(self) -> int:
        """New trials that the study is yet to be asked for."""
        return max(0, self._run.plan.trials - len(self._ledger.trials))

    def _promote(self, *, last: bool) -> None:
        while trial_id := self._rungs.promote(last=last):
            self._ledger.add("promoted", trial_id, last=last)
            record = self._ledger.trials[trial_id]
            if record.promoted:
                self._ledger.check(record, self._run.storage)
                self._queue.append(record)
                return

    def _ask(self) -> TrialRecord:
        self._tell_failed()
        number = len(self._ledger.trials) + 1
        self._study.sampler = sampler(self._run.settings.seed, number)
        first_points = self._run.plan.first_points
        with self._together():
            if number <= len(first_points):
                self._study.enqueue_trial(first_points[number - 1])
            asked = self._study.ask()
            try:
                config = self._run.plan.space(asked)
            except ValueError as error:
                raise UserError(f"the search space is no longer what the study holds: {error}") from None
        trial_id: str = Trial.generate_id()
        self._ledger.add("asked", trial_id, number=number, study_number=asked.number, config=config)
        return self._ledger.trials[trial_id]

    def _tell_failed(self) -> None:
        """A trial that failed without a value is told as the worst, so that the sampler steers away."""
        for record in self._failed:
            if record.ended:
                self._tell(record, record.result.get(self._run.metric, WORST))
                self._rungs.drop(record.trial_id)
            else:
                self._queue.append(record)  # its host died as a worker took it over
        self._failed.clear()

    def _tell(self, record: TrialRecord, value: float) -> None:
        trials = self._study.get_trials(deepcopy=False)
        asked = trials[record.study_number]
        if not asked.state.is_finished():
            self._study.tell(record.study_number, value)
        elif asked.value != value and not any(one.value == value and one.params == asked.params for one in trials):
            # It was stopped, told, and gone on with: Optuna never changes a trial.
            params, distributions = asked.params, asked.distributions
            self._study.add_trial(create_trial(params=params, distributions=distributions, value=value))

    def _reconcile(self) -> None:
        """Put the study where the ledger is: the process may have died between the two."""
        known = {record.study_number for record in self._ledger.trials.values()}
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING, TrialState.WAITING)):
            if trial.number not in known:  # asked for, and lost: it is asked for again
                self._study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
        for record in self._ledger.trials.values():
            if record.ended:
                self._tell(record, record.result.get(self._run.metric, WORST))
