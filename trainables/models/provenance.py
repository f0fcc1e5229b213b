"""What stands beside a file of weights: where they come from, under which licence, and what is in the file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field
from safetensors.torch import save as to_bytes
from torch import Tensor

from trainables import locks, stored, unfinished
from trainables.stored import DamagedError


@dataclass(frozen=True)
class Provenance:
    """Of one file.

    Attributes:
        source: package, repository or file that the weights come from. licence: theirs; "" where nobody said.
        pretrained_on: their name in `trainables.pretraining`'s register; "" where that has none.
        mean, std: per channel, for images in 0..1, as the weights were trained.
        sha256: of the file, hexadecimal.
    """

    __pydantic_config__ = ConfigDict(allow_inf_nan=False)

    source: str
    licence: str
    pretrained_on: str
    mean: Annotated[tuple[float, ...], Field(min_length=1, max_length=3)]
    std: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1, max_length=3)]
    sha256: str = ""


def read(weights: Path) -> Provenance | None:
    """What stands beside a file; None where nothing does, as in a folder that was made by hand.

    Raises:
        ValueError: it is damaged, or of another file.
    """
    file = weights.with_suffix(".json")
    if not file.is_file():
        return None
    again = "write both again (python -m orchestrator.weights), or delete the .json if the weights are right"
    try:
        found = stored.read(file, Provenance)
    except DamagedError as error:
        raise ValueError(f"{error}; {again}") from None
    if digest(weights) != found.sha256:
        raise ValueError(f"{weights}: not the file that {file.name} is of (its sha256 differs), or damaged; {again}")
    return found


def write(weights: Path, tensors: Mapping[str, Tensor], found: Provenance) -> None:
    """Write a safetensors file and what stands beside it, under temporary names until both are complete.

    Of several processes that write the same, one does so after the other: the two stay of one another.

    Raises:
        OSError: they cannot be written; what stood there stays.
    """
    weights.parent.mkdir(parents=True, exist_ok=True)
    beside = weights.with_suffix(".json")
    with unfinished.beside(weights) as file, unfinished.beside(beside) as note:
        # Bytes first, then Python's own file: on a full disk safetensors does not raise OSError.
        file.write_bytes(to_bytes({name: one.contiguous() for name, one in tensors.items()}))
        said = {**asdict(found), "sha256": digest(file)}
        note.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
        with locks.held(weights.with_name(f".{weights.name}.lock")):
            file.replace(weights)
            note.replace(beside)


def digest(file: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
