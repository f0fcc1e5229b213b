"""Notes for the tracking store, a run each, until the writer's thread has written them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from mlflow.entities import DatasetInput, Metric

from trainables.data.words import written


def now_ms() -> int:
    return int(time.time() * 1000)


class Picture(NamedTuple):
    """A file for a folder of a run's artifacts; with a step also an image that MLflow shows beside other runs'."""

    file: Path
    folder: str
    step: int | None = None


@dataclass
class PendingWrites:
    """What waits to be written for one run. `since` (monotonic seconds) is the oldest call still waiting."""

    since: float = field(default_factory=time.monotonic)
    started: int = field(default_factory=now_ms)
    name: str = ""
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: list[Metric] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    data: list[DatasetInput] = field(default_factory=list)
    status: str = ""
    status_at: int = field(default_factory=now_ms)

    def __post_init__(self) -> None:
        # Databases hold UTF-8, and data may lie in a folder whose name is none.
        self.params = {name: written(value) for name, value in self.params.items()}
        self.tags = {name: written(value) for name, value in self.tags.items()}

    def absorb(self, later: PendingWrites) -> None:
        """Add a later call's notes: the later status and tags win, the first parameters stay."""
        self.name = self.name or later.name
        self.params = later.params | self.params
        self.tags |= later.tags
        self.metrics += later.metrics
        self.pictures += later.pictures
        self.data = self.data or later.data
        if later.status:
            self.status, self.status_at = later.status, later.status_at


@dataclass
class RunState:
    """What a run in the store already holds."""

    run_id: str
    steps: dict[str, int] = field(default_factory=dict)  # metric -> highest step
    params: set[str] = field(default_factory=set)
    data: bool = False  # whether its inputs are
    tags: dict[str, str] = field(default_factory=dict)


def add(waiting: dict[str, PendingWrites], key: str, notes: PendingWrites) -> None:
    """Let notes wait, with those of the same run that wait already."""
    if key in waiting:
        waiting[key].absorb(notes)
    else:
        waiting[key] = notes
