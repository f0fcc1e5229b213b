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

from trainables import stored
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

    Raises:
        OSError: they cannot be written; what stood there stays.
    """
    weights.parent.mkdir(parents=True, exist_ok=True)
    parts = {end: weights.with_suffix(f"{end}.part") for end in (weights.suffix, ".json")}
    try:
        # Bytes first, then Python's own file: on a full disk safetensors does not raise OSError.
        parts[weights.suffix].write_bytes(to_bytes({name: one.contiguous() for name, one in tensors.items()}))
        said = {**asdict(found), "sha256": digest(parts[weights.suffix])}
        parts[".json"].write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
        for end, part in parts.items():
            part.replace(weights.with_suffix(end))
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)


def digest(file: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
