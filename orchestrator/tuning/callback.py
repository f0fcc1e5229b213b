"""What Tune tells of trials, passed on: to the ledger first, then to MLflow and the terminal."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from ray.tune import Callback

from orchestrator.tracking import description
from orchestrator.tracking.tracker import Tracker
from orchestrator.tuning.budget import TuneResult
from orchestrator.tuning.event import Event
from orchestrator.tuning.failures import Failure, FailurePolicy
from orchestrator.tuning.ledger import TrialRecord
from orchestrator.tuning.progress import SearchProgress, TrialLine
from orchestrator.tuning.search_run import SearchRun

log = logging.getLogger(__name__)

#: MLflow's status of a run, by the state in which its trial stopped.
RUN_STATUS = {"failed": "FAILED", "interrupted": "KILLED"}
#: What Tune goes on to use of a result.
TUNE_NEEDS = {"training_iteration", "done", "should_checkpoint", "trial_id", "time_total_s", "pid", "node_ip"}


class SearchCallback(Callback):
    """One ledger record, one MLflow run and one line in the terminal for each trial."""

    def __init__(self, run: SearchRun, tracker: Tracker, progress: SearchProgress) -> None:
        self._run, self._ledger, self._budget = run, run.ledger, run.budget
        self._tracker, self._progress, self._policy = tracker, progress, FailurePolicy(run)

    def __getstate__(self) -> dict[str, object]:
        # Tune pickles callbacks with its state; threads and terminals cannot go with them.
        return {}

    def replay(self, history: Iterable[Event]) -> None:
        """Show earlier launches' trials, and tell MLflow what a crash may have kept from it."""
        written = self._tracker.written()
        records = self._ledger.trials.values()
        missing = {r.trial_id for r in records if not r.ended or written.get(r.trial_id) != r.epoch}
        for event in history:
            if event.trial not in missing:
                continue
            if event.event == "started":
                self._open(self._ledger.trials[event.trial])
            elif event.event == "result":
                self._tracker.log(event.trial, event.metrics, step=event.epoch)
        for record in records:
            if record.trial_id in missing and record.state != "waiting":
                self._close(record)  # also what the budget or a person stopped: it may not start again
            if record.ended:
                best, epochs = record.result.get(self._run.metric), record.config["epochs"]
                row = TrialLine(record.number, record.label, epochs, record.epoch, best, record.state)
                row.seconds = record.seconds
                self._progress.known(record.trial_id, row)

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Tune starts a trial, or goes on with it."""
        record = self._ledger.trials[trial.trial_id]
        self._ledger.add("started", trial.trial_id)
        self._open(record)
        self._progress.started(trial.trial_id, record.number, record.label, record.config["epochs"])

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: TuneResult, **info: Any) -> None:
        """An epoch is done."""
        kept = ("train_seconds", "setup_seconds", "micro_batch")
        metrics = {
            name: float(value)
            for name, value in result.items()
            if name.startswith(("train/", "val/", "best/", "system/")) or name in kept
        }
        epoch = result["training_iteration"]
        ending = self._ending(trial.config["epochs"], result) if result.get("done") else ""
        self._ledger.add("result", trial.trial_id, epoch=epoch, metrics=metrics, ending=ending)
        self._tracker.log(trial.trial_id, metrics, step=epoch)
        self._progress.epoch(trial.trial_id, epoch, result[self._run.metric])
        # Tune keeps a history of every number of every trial, in memory; the ledger has them.
        for name in [name for name in result if name not in TUNE_NEEDS and name != self._run.metric]:
            del result[name]

    def on_checkpoint(self, iteration: int, trials: list[Any], trial: Any, checkpoint: Any, **info: Any) -> None:
        """A checkpoint is complete: the one before is not needed any more, as each holds the best weights, too."""
        before = self._ledger.trials[trial.trial_id].checkpoint
        path = str(self._run.storage.path(checkpoint.path).relative_to(self._ledger.folder))
        self._ledger.add("checkpoint", trial.trial_id, path=path, epoch=trial.last_result["training_iteration"])
        if before and before != path:
            self._run.storage.delete(self._ledger.folder / before)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial ended, by itself or by the budget, or waits at a rung."""
        self._end(trial.trial_id, self._ledger.trials[trial.trial_id].ending or "interrupted")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial failed for good."""
        if self._ledger.trials[trial.trial_id].state != "running":  # its worker never came up
            self.on_trial_start(iteration, trials, trial)
        failure = Failure.of(trial)
        if self._policy.is_its_own(trial.trial_id, failure):
            log.error("trial %s failed: %s", self._ledger.trials[trial.trial_id].label, failure.reason)
            self._end(trial.trial_id, "failed", failure.reason)
        else:
            self._end(trial.trial_id, "interrupted", failure.reason)

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial failed and is to be tried again."""
        if not self._policy.counts(trial.trial_id, Failure.of(trial)):
            trial.run_metadata.num_failures -= 1

    def close(self) -> None:
        """Close the trials that never ended: the search was interrupted."""
        for record in self._ledger.trials.values():
            if record.state == "running" or (record.state == "waiting" and record.began is not None):
                self._end(record.trial_id, "interrupted")

    def _ending(self, epochs: int, result: TuneResult) -> str:
        if result.get("stopped"):
            return str(result["stopped"])
        if result["training_iteration"] >= epochs:
            return "completed"
        if self._budget.interrupted:
            return "interrupted"
        return "budget" if self._budget.over() else "asha"

    def _open(self, record: TrialRecord) -> None:
        architecture, encoder = record.config["architecture"], record.config["encoder"]
        tags = {
            "architecture": architecture,
            "encoder": encoder,
            "weights_source": self._run.plan.weights_source(encoder),
            **self._run.tags,
        }
        self._tracker.start_trial(record.trial_id, record.label, record.config, tags)

    def _end(self, trial_id: str, state: str, reason: str = "") -> None:
        self._ledger.add("ended", trial_id, state=state, reason=reason)
        self._close(self._ledger.trials[trial_id])
        self._progress.finished(trial_id, state)

    def _close(self, record: TrialRecord) -> None:
        tags = {"stopped": record.state, **({"reason": record.reason} if record.reason else {})}
        if "micro_batch" in record.result:
            parts = f"batch of {record.config['batch_size']} in parts of {record.result['micro_batch']:.0f}"
            tags["out_of_memory"] = parts
        metric = self._run.task.primary
        best = record.result.get(f"best/{metric}")
        tags[description.TAG] = description.trial_note(record.label, metric, best, record.epoch)
        self._tracker.end_trial(record.trial_id, RUN_STATUS.get(record.state, "FINISHED"), tags)
