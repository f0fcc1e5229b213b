"""What Tune tells of trials, passed on: to the ledger first, then to MLflow and the terminal."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from ray.tune import Callback

from orchestrator.cluster.compatibility import HostError, HostRequirements
from orchestrator.storage.storage import PATIENCE, Storage
from orchestrator.tracking.tracker import Tracker
from orchestrator.tuning import failures
from orchestrator.tuning.budget import Budget
from orchestrator.tuning.failures import DEATHS
from orchestrator.tuning.ledger import Ledger, TrialRecord, label
from orchestrator.tuning.progress import SearchProgress, TrialLine
from orchestrator.tuning.resume import drop_strays
from search_spaces import Config
from trainables.models.weights import Source

log = logging.getLogger(__name__)

#: MLflow's status of a run, by the state in which its trial stopped.
RUN_STATUS = {"failed": "FAILED", "interrupted": "KILLED"}
#: What Tune goes on to use of a result.
TUNE_NEEDS = {"training_iteration", "done", "should_checkpoint", "trial_id", "time_total_s", "pid", "node_ip"}


class SearchCallback(Callback):
    """One ledger record, one MLflow run and one line in the terminal for each trial.

    Args:
        ledger, tracker, progress, budget: of this search.
        storage: where checkpoints go.
        tags: tags that every trial carries.
        sources: where each encoder's weights come from.
        primary: name of the primary metric.
        fitting: what hosts of a cluster must have.

    Attributes:
        metric: what trials are ranked by, `best/<primary>`.
    """

    def __init__(
        self,
        ledger: Ledger,
        tracker: Tracker,
        progress: SearchProgress,
        budget: Budget,
        *,
        storage: Storage,
        tags: dict[str, str],
        sources: dict[str, Source],
        primary: str,
        fitting: HostRequirements | None = None,
    ) -> None:
        self._ledger, self._tracker, self._progress, self._budget = ledger, tracker, progress, budget
        self._fitting = fitting
        self._deaths: dict[str, tuple[int, int]] = {}
        self._storage, self._tags, self._sources, self.metric = storage, tags, sources, f"best/{primary}"

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles callbacks with its state; threads and terminals cannot go with them.
        return {}

    def replay(self, history: Iterable[Mapping[str, Any]]) -> None:
        """Show earlier launches' trials, and tell MLflow what a crash may have kept from it."""
        written = {trial for trial, status in self._tracker.statuses().items() if status in ("FINISHED", "FAILED")}
        missing = {r.trial_id for r in self._ledger.trials.values() if not (r.ended and r.trial_id in written)}
        for event in history:
            if event.get("trial") not in missing:
                continue
            record = self._ledger.trials[event["trial"]]
            if event["event"] == "started":
                self._open(record)
            elif event["event"] == "result":
                self._tracker.log(record.trial_id, event["metrics"], step=event["epoch"])
        for record in self._ledger.trials.values():
            if record.trial_id in missing and record.state != "waiting":
                self._close(record)  # also what the budget or a person stopped: it may not start again
            if record.ended:
                best, config = record.result.get(self.metric), record.config
                row = TrialLine(record.number, label(config, record.number), config["epochs"], record.epoch, best)
                row.state, row.seconds = record.state, record.seconds
                self._progress.known(record.trial_id, row)

    def on_trial_start(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        """Tune starts a trial, or goes on with it."""
        record = self._ledger.trials[trial.trial_id]
        self._ledger.add("started", trial.trial_id)
        self._open(record)
        name = label(record.config, record.number)
        self._progress.started(trial.trial_id, record.number, name, record.config["epochs"])

    def on_trial_result(self, iteration: int, trials: list, trial: Any, result: dict[str, Any], **info: Any) -> None:
        """An epoch is done."""
        kept = ("train_seconds", "setup_seconds", "micro_batch")
        metrics = {
            name: float(value)
            for name, value in result.items()
            if name.startswith(("train/", "val/", "best/")) or name in kept
        }
        epoch = result["training_iteration"]
        ending = self._ending(trial.config, result) if result.get("done") else ""
        self._ledger.add("result", trial.trial_id, epoch=epoch, metrics=metrics, ending=ending)
        self._tracker.log(trial.trial_id, metrics, step=epoch)
        self._progress.epoch(trial.trial_id, epoch, result[self.metric])
        # Tune keeps a history of every number of every trial, in memory; the ledger has them.
        for name in [name for name in result if name not in TUNE_NEEDS and name != self.metric]:
            del result[name]

    def on_checkpoint(self, iteration: int, trials: list, trial: Any, checkpoint: Any, **info: Any) -> None:
        """A checkpoint is complete: the one before is not needed any more, as each holds the best weights, too."""
        before = self._ledger.trials[trial.trial_id].checkpoint
        path = str(self._storage.path(checkpoint.path).relative_to(self._ledger.folder))
        self._ledger.add("checkpoint", trial.trial_id, path=path, epoch=trial.last_result["training_iteration"])
        if before and before != path:
            self._storage.delete(self._ledger.folder / before)

    def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        """A trial ended: by itself, by ASHA or by the budget."""
        self._end(trial.trial_id, self._ledger.trials[trial.trial_id].ending or "interrupted")

    def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        """A trial failed for good."""
        if self._ledger.trials[trial.trial_id].state != "running":  # its worker never came up
            self.on_trial_start(iteration, trials, trial)
        reason = failures.last_line(trial)
        if self._unstored(reason):
            self._leave_storage(reason)
        if self._hopeless(trial, reason) or self._unstored(reason) or self._host_alone_died(trial):
            self._end(trial.trial_id, "interrupted", reason)
        else:
            log.error("trial %s failed: %s", label(trial.config, self._ledger.trials[trial.trial_id].number), reason)
            self._end(trial.trial_id, "failed", reason)

    def on_trial_recover(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        """A trial failed and is to be tried again."""
        reason = failures.last_line(trial)
        if not self._hopeless(trial, reason) and (self._storage_was_away(reason) or self._host_alone_died(trial)):
            trial.run_metadata.num_failures -= 1

    def weights_source(self, config: Config) -> str:
        """Where a trial's encoder weights came from."""
        source = self._sources.get(config["encoder"])
        return source.kind if source else "random"

    def close(self) -> None:
        """Close the trials that never ended: the search was interrupted."""
        for record in self._ledger.trials.values():
            if record.state == "running" or (record.state == "waiting" and record.began is not None):
                self._end(record.trial_id, "interrupted")

    def _hopeless(self, trial: Any, reason: str) -> bool:
        """Whether nothing can go on: a host does not fit the others, or the disk is full, and half of a file goes."""
        if HostError.__name__ in reason:
            self._budget.give_up(f"{reason.partition(': ')[2]}; then resume")
            return True
        if self._fitting and failures.never_ran(trial) and (problem := self._fitting.misfit()):
            self._budget.give_up(f"{problem}; then resume")  # too different to say so itself
            return True
        if failures.DISK_FULL not in reason:
            return False
        drop_strays(self._ledger.folder, self._ledger.trials[trial.trial_id], self._storage)
        self._budget.give_up(f"disk full: make room for {self._ledger.folder}, then resume ({reason})")
        return True

    def _host_alone_died(self, trial: Any) -> bool:
        """Whether its host died, and not by the trial: a spot host is taken away, but not one after the other."""
        if not failures.host_died(trial):
            return False
        now = self._ledger.trials[trial.trial_id].epoch
        epoch, deaths = self._deaths.get(trial.trial_id, (now, 0))
        deaths = deaths + 1 if epoch == now else 1
        self._deaths[trial.trial_id] = now, deaths
        return deaths <= DEATHS

    def _unstored(self, reason: str) -> bool:
        """Whether a trial failed for want of what hosts share under a URI."""
        of_host = "OSError: [Errno"
        return bool(self._storage.uri) and reason.startswith("OSError: ") and not reason.startswith(of_host)

    def _storage_was_away(self, reason: str) -> bool:
        """Whether the storage was away, which is no fault of the trial: waited for, and given up if it stays away."""
        if not self._unstored(reason) or self._budget.failed() or not (problem := self._storage.trouble()):
            return False
        log.warning("storage %s does not answer (%s); the search waits", self._storage.uri, problem)
        if problem := self._storage.trouble(PATIENCE):
            self._leave_storage(problem)
        return True

    def _leave_storage(self, reason: str) -> None:
        self._budget.give_up(f"storage {self._storage.uri} cannot be used ({reason}); see to it, then resume")

    def _ending(self, config: Config, result: dict[str, Any]) -> str:
        if result.get("stopped"):
            return result["stopped"]
        if result["training_iteration"] >= config["epochs"]:
            return "completed"
        if self._budget.interrupted:
            return "interrupted"
        return "budget" if self._budget.over() else "asha"

    def _open(self, record: TrialRecord) -> None:
        config = record.config
        tags = {
            "architecture": config["architecture"],
            "encoder": config["encoder"],
            "weights_source": self.weights_source(config),
            **self._tags,
        }
        self._tracker.start_trial(record.trial_id, label(config, record.number), config, tags)

    def _end(self, trial_id: str, state: str, reason: str = "") -> None:
        self._ledger.add("ended", trial_id, state=state, reason=reason)
        self._close(self._ledger.trials[trial_id])
        self._progress.finished(trial_id, state)

    def _close(self, record: TrialRecord) -> None:
        tags = {"stopped": record.state, **({"reason": record.reason} if record.reason else {})}
        if "micro_batch" in record.result:
            parts = f"batch of {record.config['batch_size']} in parts of {record.result['micro_batch']:.0f}"
            tags["out_of_memory"] = parts
        self._tracker.end_trial(record.trial_id, RUN_STATUS.get(record.state, "FINISHED"), tags)
