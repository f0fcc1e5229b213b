"""What a search leaves behind as `summary.json`."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, computed_field

from orchestrator.config.loading import split_sizes
from orchestrator.storage.result import Result
from orchestrator.storage.storage import Storage
from orchestrator.tuning.ledger import TrialRecord
from orchestrator.tuning.search_run import SearchRun
from trainables import checkpoint

if TYPE_CHECKING:
    import pandas as pd


#: How trials end, where the state alone does not say it.
ENDS = {"completed": "to the end", "asha": "left at a rung"}


class TrialSummary(BaseModel, frozen=True):
    """A trial that was started.

    Attributes:
        mlflow_run_id: "" where MLflow has no run of it.
        status: one of `ledger.ENDED`, budget or interrupted. reason: why it failed.
        metric: its best value of the primary metric; None without one.
        epochs: done. seconds: in a slot. train_seconds: of them, training and validation.
        checkpoint: with the weights of its best epoch; None where there is none.
    """

    trial_id: str
    mlflow_run_id: str
    name: str
    status: str
    reason: str
    architecture: str
    encoder: str
    recipe: str
    weights_source: str
    metric: float | None
    epochs: int
    seconds: float
    train_seconds: float
    checkpoint: Path | None


class DataSummary(BaseModel, frozen=True):
    """The data that it learned from: images used, near-duplicate groups, and images left out."""

    fingerprint: str
    prepared_fingerprint: str
    source: str
    synthetic: bool
    images: int
    groups: int
    split_sizes: dict[str, int]
    left_out: int


class Cost(BaseModel, frozen=True):
    """Trials' seconds in a slot, and GPU-hours."""

    seconds: float = 0.0
    gpu_hours: float = 0.0


class ArchitectureCost(Cost, frozen=True):
    """What the trials of one architecture cost."""

    trials: int = 0


class Spent(Cost, frozen=True):
    """What all trials cost.

    Attributes:
        energy_kwh: of their GPUs, in the trials' epochs; None where no power is known.
    """

    energy_kwh: float | None = None
    by_architecture: dict[str, ArchitectureCost]


class SearchSummary(Result, frozen=True):
    """A search, all its launches together.

    Attributes:
        why: what ended it. metric: what trials are ranked by.
        wall_seconds: of all launches, the time between them left out. slots: trials at a time.
        efficiency: the sum of the trials' training seconds over (slots x seconds from the first trial's start to the
            last's end); None without a trial.
        tracking_lag_seconds: the longest that MLflow was behind.
    """

    task: str
    name: str
    status: Literal["done", "failed", "interrupted"]
    why: str
    metric: str
    image_size: int
    data: DataSummary
    trials: tuple[TrialSummary, ...]
    wall_seconds: float
    launches: int
    spent: Spent
    slots: int
    efficiency: float | None
    tracking_lag_seconds: float = 0.0

    @computed_field  # type: ignore[prop-decorator]
    @property
    def best(self) -> TrialSummary | None:
        """The best trial with a checkpoint; of equals, that of fewer seconds."""
        return next(iter(_ranked(self.trials)), None)

    def with_runs(self, run_id: Callable[[str], str]) -> SearchSummary:
        """With what MLflow calls each trial."""
        trials = (row.model_copy(update={"mlflow_run_id": run_id(row.trial_id)}) for row in self.trials)
        return self.model_copy(update={"trials": tuple(trials)})

    def trials_frame(self) -> pd.DataFrame:
        """A row for each trial, best first."""
        import pandas as pd  # late: only notebooks need it

        frame = pd.DataFrame([row.model_dump() for row in self.trials], columns=list(TrialSummary.model_fields))
        return frame.sort_values("metric", ascending=False, ignore_index=True)

    @property
    def ends(self) -> str:
        """How its trials ended, in words: "3 to the end, 5 left at a rung"."""
        counted = Counter(row.status for row in self.trials)
        return ", ".join(f"{number} {ENDS.get(status, status)}" for status, number in sorted(counted.items()))

    @property
    def note(self) -> str:
        """Its run in MLflow in words: what, how good, and how to go on."""
        best = ""
        if self.best and self.best.metric is not None:
            best = f" Best validation {self.metric} {self.best.metric:.4f}: {self.best.name}."
        more = f" --trials {2 * len(self.trials)}" if "all trials" in self.why else ""
        return (
            f"{len(self.trials)} trials of {self.name}, {self.status}.{best} Go on: "
            f"`python -m orchestrator.search --resume {shlex.quote(self.name)}{more}`."
        )

    def figures(self) -> dict[str, float]:
        """Its own metrics in MLflow. None is named best/...: the parent must not stand in its trials' ranking."""
        values = {
            "search/wall_seconds": self.wall_seconds,
            "search/efficiency": self.efficiency or 0.0,
            "search/tracking_lag_seconds": self.tracking_lag_seconds,
            "spent/seconds": self.spent.seconds,
            "spent/gpu_hours": self.spent.gpu_hours,
        }
        if self.spent.energy_kwh is not None:
            values["spent/energy_kwh"] = self.spent.energy_kwh
        for name, total in self.spent.by_architecture.items():
            values |= {f"spent/seconds/{name}": total.seconds, f"spent/gpu_hours/{name}": total.gpu_hours}
        if self.best and self.best.metric is not None:
            values[f"search/best_{self.metric}"] = self.best.metric
        return {name.replace(":", "/"): value for name, value in values.items()}


def summarise(run: SearchRun) -> SearchSummary:
    """What a launch leaves, but for what MLflow knows."""
    data, budget = run.data, run.budget
    records = [record for record in run.ledger.trials.values() if record.began is not None]
    rows = tuple(_row(record, run) for record in records)
    began = min((record.began for record in records if record.began is not None), default=0.0)
    span = max((record.stopped for record in records), default=0.0) - began
    trained = sum(row.train_seconds for row in rows)
    failed = budget.failed() or all(row.metric is None for row in rows)
    return SearchSummary(
        task=run.settings.task,
        name=run.settings.name,
        status="interrupted" if budget.interrupted else "failed" if failed else "done",
        why=budget.why(),
        metric=run.task.primary,
        image_size=run.settings.image_size,
        data=DataSummary(
            fingerprint=data.data_fingerprint,
            prepared_fingerprint=data.prepared_fingerprint,
            source=run.settings.source,
            synthetic=data.synthetic,
            images=len(data.images),
            groups=len(set(data.groups.tolist())),
            split_sizes=split_sizes(data),
            left_out=data.left_out,
        ),
        trials=rows,
        wall_seconds=round(run.ledger.clock(), 3),
        launches=run.ledger.launches,
        spent=spent(records),
        slots=run.share.slots,
        efficiency=round(trained / (run.share.slots * span), 4) if span > 0 else None,
    )


def spent(records: Iterable[TrialRecord]) -> Spent:
    """What trials cost, in all and by architecture."""
    by: dict[str, ArchitectureCost] = {}
    metered = list[float]()
    for record in records:
        metered += [] if record.watt_hours is None else [record.watt_hours]
        before = by.get(record.config["architecture"], ArchitectureCost())
        by[record.config["architecture"]] = ArchitectureCost(
            trials=before.trials + 1,
            seconds=round(before.seconds + record.seconds, 3),
            gpu_hours=round(before.gpu_hours + record.gpu_seconds / 3600, 6),
        )
    return Spent(
        seconds=round(sum(total.seconds for total in by.values()), 3),
        gpu_hours=round(sum(total.gpu_hours for total in by.values()), 6),
        energy_kwh=round(sum(metered) / 1000, 6) if metered else None,
        by_architecture=by,
    )


def _row(record: TrialRecord, run: SearchRun) -> TrialSummary:
    return TrialSummary(
        trial_id=record.trial_id,
        mlflow_run_id="",  # known once MLflow has it
        name=record.label,
        status=record.state,
        reason=record.reason,
        architecture=record.config["architecture"],
        encoder=record.config["encoder"],
        recipe=record.config["recipe"],
        weights_source=run.plan.weights_source(record.config["encoder"]),
        metric=record.result.get(run.metric),
        epochs=record.epoch,
        seconds=round(record.seconds, 3),
        train_seconds=round(record.result.get("train_seconds", 0.0), 3),
        # Not one that is older than the best value: the trial failed before the next was written.
        checkpoint=run.settings.folder / record.checkpoint if record.saved else None,
    )


def best_first(trials: Sequence[TrialSummary], storage: Storage) -> list[tuple[TrialSummary, Path]]:
    """Trials and their checkpoints, of those that have one with weights, best first."""
    found = [(row, row.checkpoint) for row in _ranked(trials) if row.checkpoint]
    return [(row, folder) for row, folder in found if storage.has(folder / checkpoint.WEIGHTS)]


def _ranked(trials: Sequence[TrialSummary]) -> list[TrialSummary]:
    scored = [row for row in trials if row.metric is not None and row.checkpoint]
    return sorted(scored, key=lambda row: (-(row.metric or 0.0), row.seconds))
