"""A line of a search's ledger, and what such a line may hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field

from orchestrator.tuning.identity import Identity
from search_spaces import Config


def _inside(path: str) -> str:
    """Refuse the path of a checkpoint that leads out of the search's folder."""
    if Path(path).is_absolute() or ".." in Path(path).parts:
        raise ValueError("leads out of the search's folder")
    return path


def _labelled(config: Config) -> Config:
    """Refuse a configuration without what trials are told apart by."""
    for name, kind in {"architecture": str, "encoder": str, "recipe": str, "epochs": int}.items():
        if config and not isinstance(config.get(name), kind):
            raise ValueError(f"{name} is {'no text' if kind is str else 'no number'}")
    return config


State = Literal["completed", "asha", "early", "diverged", "failed", "budget", "interrupted"]
Count = Annotated[int, Field(ge=0, le=10**9)]


@dataclass(frozen=True)
class Event:
    """A line of the ledger; what its kind does not have is empty.

    Attributes:
        event: launch, asked, started, result, checkpoint, ended or promoted.
        clock: seconds that the search had run.
        trial: its id. last: see `Rungs.promote`. Others: see `ledger.TrialRecord`; of a launch, `Ledger.launch`.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    event: Literal["launch", "asked", "started", "result", "checkpoint", "ended", "promoted"]
    clock: Annotated[float, Field(ge=0, le=10**9)]
    trial: str = ""
    number: Count = 0
    study_number: Count = 0
    config: Annotated[Config, AfterValidator(_labelled)] = field(default_factory=dict)
    epoch: Count = 0
    metrics: dict[str, float] = field(default_factory=dict)
    ending: Literal["", State] = ""
    path: Annotated[str, AfterValidator(_inside)] = ""
    state: Literal["", State] = ""
    reason: str = ""
    last: bool = False
    identity: Identity | None = None
    gpus: Annotated[float, Field(ge=0, le=1024)] = 0.0
    pid: Count = 0
    host: str = ""
