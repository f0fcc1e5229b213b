"""Why a trial failed, and whose fault that is: the trial's, its host's, or of something that stops the whole search."""

from __future__ import annotations

import errno
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayActorError, RayTaskError

from orchestrator.cluster.compatibility import HostError
from orchestrator.cluster.deaths import HostMemoryError
from orchestrator.common.errors import first_line
from orchestrator.storage.storage import PATIENCE
from orchestrator.tuning.resume import drop_strays
from orchestrator.tuning.search_run import SearchRun
from trainables.devices import UnusableGpuError

log = logging.getLogger(__name__)

#: Hosts that may die with a trial before it has another epoch.
DEATHS = 5
#: Of what fails on the driver Tune keeps the words alone.
DISK_FULL = os.strerror(errno.ENOSPC)
#: Ray has one class for all that an actor can die of.
NODE_DIED = "node has died"


@dataclass(frozen=True)
class Failure:
    """Why a trial failed the last time, from what Tune keeps on the driver's host.

    Attributes:
        reason: its error's class and the first line of its message: CUDA's say in the last how to debug torch.
        error: what was raised, by the trial or as its worker began; else what Ray says of the worker, or None.
        never_ran: its worker could not even begin.
    """

    reason: str
    error: BaseException | None
    never_ran: bool

    @classmethod
    def of(cls, trial: Any) -> Failure:
        """Read from the local files: Tune itself would look in the storage, where they come later."""
        try:
            reason = Path(trial.error_file).read_text().strip().splitlines()[-1]
        except (OSError, IndexError, TypeError):
            reason = "its worker died"
        try:
            error = ray.cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
        except Exception:  # whatever a class raises that is made anew
            return cls(reason, None, never_ran=False)
        never_ran = isinstance(error, ActorDiedError) and error.actor_init_failed
        raised = error.args[0] if never_ran else error
        if isinstance(raised, RayTaskError) and isinstance(raised.cause, BaseException):
            raised = raised.cause
            reason = f"{type(raised).__name__}: {first_line(raised)}"
        return cls(reason, raised, never_ran)

    @property
    def disk_full(self) -> bool:
        """Whether a disk is."""
        return (isinstance(self.error, OSError) and self.error.errno == errno.ENOSPC) or DISK_FULL in self.reason

    @property
    def unstored(self) -> bool:
        """Whether a server of the storage said no: then pyarrow raises OSError itself, without a number."""
        return type(self.error) is OSError and self.error.errno is None

    @property
    def host_died(self) -> bool:
        """Whether its worker went with its host, or that one's memory. At first Ray only cannot reach the worker."""
        gone = isinstance(self.error, RayActorError) and NODE_DIED in str(self.error)
        return gone or isinstance(self.error, ActorUnavailableError | HostMemoryError)


class FailurePolicy:
    """Who is to blame for a failure, and whether the search gives up: then no trial is."""

    def __init__(self, run: SearchRun) -> None:
        self._run = run
        self._deaths: dict[str, tuple[int, int]] = {}  # trial -> its epoch, and hosts that died with it since

    def counts(self, trial_id: str, failure: Failure) -> bool:
        """Whether a failure counts against a trial that is to be tried again."""
        if self._hopeless(trial_id, failure):
            return True
        return not (self._storage_was_away(failure) or self._host_alone_died(trial_id, failure))

    def is_its_own(self, trial_id: str, failure: Failure) -> bool:
        """Whether a trial that is not tried again failed by itself; else it goes on when the search is resumed."""
        if unstored := self._unstored(failure):
            self._run.leave_storage(failure.reason)
        return not (self._hopeless(trial_id, failure) or unstored or self._host_alone_died(trial_id, failure))

    def _hopeless(self, trial_id: str, failure: Failure) -> bool:
        """Whether nothing can go on: a host does not fit the others, or the disk is full, and half of a file goes."""
        run = self._run
        if isinstance(failure.error, HostError | UnusableGpuError):
            run.budget.give_up(f"{failure.error}; then resume")
            return True
        if run.fitting and failure.never_ran and (problem := run.fitting.misfit()):
            run.budget.give_up(f"{problem}; then resume")  # too different to say so itself
            return True
        if failure.disk_full:
            drop_strays(run.settings.folder, run.ledger.trials[trial_id], run.storage)
            run.budget.give_up(f"disk full: make room for {run.settings.folder}, then resume ({failure.reason})")
        return failure.disk_full

    def _host_alone_died(self, trial_id: str, failure: Failure) -> bool:
        """Whether its host died, and not by the trial: a spot host is taken away, but not one after the other."""
        if not failure.host_died:
            return False
        self._run.shortage.heed(failure.error)
        now = self._run.ledger.trials[trial_id].epoch
        epoch, deaths = self._deaths.get(trial_id, (now, 0))
        deaths = deaths + 1 if epoch == now else 1
        self._deaths[trial_id] = now, deaths
        return deaths <= DEATHS

    def _unstored(self, failure: Failure) -> bool:
        """Whether a trial failed for want of what hosts share under a URI."""
        return bool(self._run.storage.uri) and failure.unstored

    def _storage_was_away(self, failure: Failure) -> bool:
        """Whether the storage was away, which is no fault of the trial: waited for, and given up if it stays away."""
        storage = self._run.storage
        if not self._unstored(failure) or self._run.budget.failed() or not (problem := storage.trouble()):
            return False
        log.warning("storage %s does not answer (%s); the search waits", storage.uri, problem)
        if problem := storage.trouble(PATIENCE):
            self._run.leave_storage(problem)
        return True
