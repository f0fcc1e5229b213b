"""What makes a search this one."""

from __future__ import annotations

from dataclasses import dataclass, field

from search_spaces import Parameters


@dataclass(frozen=True)
class Identity:
    """What makes a search this one, beside its settings: what a resumed one must agree with.

    Attributes:
        choices: what a trial can be: architecture, encoder, epochs and recipe of each.
        first_points: parameters of the first trials.
        weights: what each encoder starts from, as `Source.words` has it.
        augmented_on: "cpu" or "gpu": whose draws trials train on. Searches of before had the CPU's alone.
        plugins: SHA-256 of each, by name.
        id: by which MLflow tells it from others of its name.
    """

    task: str = ""
    classes: int = 3
    data_fingerprint: str = ""
    prepared_fingerprint: str = ""
    choices: list[tuple[str, str, int, str]] = field(default_factory=list)
    first_points: list[Parameters] = field(default_factory=list)
    weights: dict[str, str] = field(default_factory=dict)
    id: str = ""
    augmented_on: str = "cpu"
    plugins: dict[str, str] = field(default_factory=dict)
