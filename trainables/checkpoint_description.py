"""What a checkpoint says of itself, as `trainables.checkpoint` writes it; read without torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from search_spaces.recipes import Config
from trainables import stored

FILE = "model.json"
#: Pixels: as `--image-size` has it at most, since memory grows with its square.
Side = Annotated[int, Field(ge=1, le=2048)]
TaskName = Literal["seg", "cls", "multi"]


def _builds(config: Config) -> Config:
    """Refuse what no network can be built by, or one without bounds."""
    for name in ("architecture", "encoder"):
        if not isinstance(config.get(name), str):
            raise ValueError(f"{name} is no text")
    if config.get("classes", 3) not in (2, 3):
        raise ValueError("classes are neither 2 nor 3")
    return config


NetworkConfig = Annotated[Config, AfterValidator(_builds)]


@dataclass(frozen=True)
class Best:
    """The epoch that the weights are of; of a training beside a search's own, the last.

    Attributes:
        value: of the primary metric; None where the validation images cannot show it.
        seconds: of training, of one beside a search's own; train_seconds: of a trial.
    """

    value: float | None = None
    epoch: Annotated[int, Field(ge=0)] = 0
    metrics: dict[str, float] = field(default_factory=dict)
    seconds: Annotated[float, Field(ge=0)] = 0.0
    train_seconds: Annotated[float, Field(ge=0)] = 0.0


@dataclass(frozen=True)
class CheckpointDescription:
    """Task, configuration and data of a checkpoint; `trained_on` as `trainables.checkpoint.trained_on` has it."""

    task: TaskName
    config: NetworkConfig
    classes: tuple[str, ...]
    best: Best
    image_size: Side
    data_fingerprint: str
    trained_on: tuple[str, ...]


def read(folder: Path) -> CheckpointDescription:
    """The description in a checkpoint's folder.

    Raises:
        OSError: there is none. DamagedError: it holds something else.
    """
    return stored.read(folder / FILE, CheckpointDescription)
