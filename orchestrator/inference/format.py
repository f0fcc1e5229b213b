"""The product as a folder: `predictor.json` holds its description, networks are safetensors. Nothing is pickled."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from orchestrator.common.errors import UserError, first_line
from orchestrator.inference.agreement import disagreement
from orchestrator.inference.description import FORMAT, Description, Part
from trainables import stored
from trainables.data.duplicates import HASH_BYTES
from trainables.stored import DamagedError

DESCRIPTION = "predictor.json"
#: Its name in folders of older versions.
OLDER = "ensemble.json"
#: What an evaluation needs beside it; folders of older versions have neither.
LEARNT_FROM, RESULTS = "trained-on.safetensors", "results.json"


class ModelError(UserError):
    """An ensemble that cannot be used or written."""


class LearntFrom(NamedTuple):
    """Images by which near-duplicates of what a model was trained on, or chosen by, are known.

    Attributes:
        hashes: `trainables.data.duplicates.perceptual_hash` of each, uint8 [n,128].
        distance: largest Hamming distance, in bits of 256, between near-duplicates of these data.
    """

    hashes: np.ndarray
    distance: int

    def to_bytes(self) -> bytes:
        """As a safetensors file, for `read_learnt_from`."""
        return to_bytes({"hashes": np.ascontiguousarray(self.hashes)}, {"distance": str(self.distance)})


def read_learnt_from(folder: Path) -> LearntFrom | None:
    """The images that the ensemble in a folder learnt from; None where an older version wrote it.

    Raises:
        ModelError: the file is damaged.
    """
    file = folder / LEARNT_FROM
    if not file.is_file():
        return None
    try:
        with safe_open(file, "np") as found:
            learnt_from = LearntFrom(found.get_tensor("hashes"), int(found.metadata()["distance"]))
        if learnt_from.hashes.dtype != np.uint8 or learnt_from.hashes.shape[1:] != (HASH_BYTES,):
            raise ValueError("hashes: not uint8 [n,128]")
        if not 0 <= learnt_from.distance <= 256:
            raise ValueError("distance: not 0 to 256")
        return learnt_from
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise damaged(f"{file}: {first_line(error)}") from None


def read(folder: Path) -> Description:
    """The description in a folder.

    Raises:
        ModelError: no such folder, no ensemble in it, or one of another format.
    """
    file = described(folder) or folder / DESCRIPTION
    try:
        plain = stored.read_finite(file, dict[str, Any])
        if (found := plain.pop("format", None)) != FORMAT:
            raise ModelError(f"{file}: format: {str(found)[:20]}, this version reads {FORMAT}; update one of them")
        plain["main"] = {one.name: plain.pop(one.name) for one in fields(Part) if one.name in plain}
        description = stored.parse(json.dumps(plain).encode(), Description, str(file))
    except OSError as error:
        raise ModelError(f"{folder}: no ensemble there ({file.name}: {error.strerror})") from None
    except DamagedError as error:
        raise damaged(str(error).replace(": main.", ": ", 1)) from None
    if words := disagreement(description):
        raise damaged(f"{file}: {words}")
    return description


def described(folder: Path) -> Path | None:
    """The file that describes the ensemble in a folder, if there is one."""
    return next((folder / name for name in (DESCRIPTION, OLDER) if (folder / name).is_file()), None)


def locate(folder: Path, model: str) -> Path:
    """The ensemble's own folder: the given one, or among the artifacts of an MLflow model.

    Args:
        model: the address that the folder was had from.

    Raises:
        ModelError: there is none.
    """
    for place in (folder, *sorted(folder.glob("artifacts/*"))):
        if described(place):
            return place
    raise ModelError(f"{model}: no exported model there; give such a folder, or models:/NAME@ALIAS from the registry")


def damaged(words: str) -> ModelError:
    """What to raise of a file of a product that holds something else, as the words say."""
    return ModelError(f"{words}; the model is damaged: export it again")
