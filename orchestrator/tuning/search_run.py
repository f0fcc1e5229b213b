"""A search as one process runs it: what all its parts work on."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from orchestrator.cluster.compatibility import HostRequirements
from orchestrator.cluster.deaths import MemoryShortage
from orchestrator.cluster.resources import TrialResources
from orchestrator.config.search import SearchSettings
from orchestrator.storage.storage import Storage
from orchestrator.tuning.budget import Budget
from orchestrator.tuning.ledger import Ledger
from orchestrator.tuning.plan import Plan
from orchestrator.tuning.reserve import NOTHING, Forecast, Reserve
from trainables.data import Prepared
from trainables.plugins import digests
from trainables.tasks import Task, make_task


@dataclass(frozen=True, eq=False)
class SearchRun:
    """One launch of a search, the first or a resumed one.

    Attributes:
        settings, data, plan, ledger: of the search.
        share: its slots, and what each trial gets.
        before: seconds from the command's start to this launch.
        forecast: of the ensemble that follows.
        fitting: what hosts of a cluster must have; None on one host.
    """

    settings: SearchSettings
    data: Prepared
    plan: Plan
    share: TrialResources
    ledger: Ledger
    before: float = 0.0
    forecast: Forecast = NOTHING
    fitting: HostRequirements | None = None

    @cached_property
    def budget(self) -> Budget:
        """What ends it."""
        gpus = self.share.gpus * self.share.slots
        settings, reserve = self.settings, self.reserve
        return Budget(self.ledger, settings.time_budget, settings.gpu_hours, gpus, reserve or (lambda: 0.0))

    @cached_property
    def reserve(self) -> Reserve | None:
        """What it leaves of a time budget; None without one."""
        settings = self.settings
        if settings.time_budget is None:
            return None
        return Reserve(
            self.ledger,
            self.metric,
            settings.time_budget,
            self.before,
            self.share.slots,
            self.forecast,
            self.plan.trials,
            self.plan.usual,
        )

    @cached_property
    def shortage(self) -> MemoryShortage:
        """What was done where hosts ran out of memory."""
        return MemoryShortage()

    @property
    def storage(self) -> Storage:
        """Where checkpoints are."""
        return Storage.of(self.settings.storage)

    @cached_property
    def task(self) -> Task:
        """What is learned."""
        return make_task(self.settings.task, self.settings.classes)

    @property
    def metric(self) -> str:
        """What trials report and are ranked by; larger is better."""
        return f"best/{self.task.primary}"

    @cached_property
    def tags(self) -> dict[str, str]:
        """Tags that the search and each of its trials carry in MLflow."""
        return {
            "task": self.settings.task,
            "classes": str(self.settings.classes),
            "primary": self.task.primary,
            "data_fingerprint": self.data.data_fingerprint,
            "prepared_fingerprint": self.data.prepared_fingerprint,
            "data_source": self.settings.source,
            "synthetic": str(self.data.synthetic).lower(),
            "git_commit": _git_commit(),
            **{f"plugin.{name}": sha256 for name, sha256 in digests().items()},
        }

    def leave_storage(self, reason: str) -> None:
        """Stop, as what hosts share cannot be used."""
        self.budget.give_up(f"storage {self.storage.uri} cannot be used ({reason}); see to it, then resume")


def _git_commit() -> str:
    """The commit of this project's own checkout; empty where there is none, or no git."""
    command = ["git", "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip()
