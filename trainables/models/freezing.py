"""Which part of a pretrained encoder trains. Frozen means frozen: its normalisation statistics stand still too."""

from __future__ import annotations

import re

from torch import nn

#: `none` of the encoder, its squeeze-and-excitation modules (`se`), its `last` stage, or `all` of it.
PARTS = ("none", "se", "last", "all")


def thaw(encoder: nn.Module, part: str) -> None:
    """Let `part` of a timm encoder train and freeze the rest; call it after `model.train()`, which frees everything.

    Raises:
        ValueError: unknown part, or one that this encoder does not have.
    """
    if part not in PARTS:
        raise ValueError(f"unknown part '{part}' of an encoder: choose from {', '.join(PARTS)}")
    encoder.requires_grad_(part == "all")
    encoder.train(part == "all")
    for module in _modules(encoder, part):
        module.requires_grad_(True)
        module.train()


def _modules(encoder: nn.Module, part: str) -> list[nn.Module]:
    if part == "se":
        found = [module for name, module in encoder.named_modules() if name.rsplit(".", 1)[-1] == "se"]
    elif part == "last":
        # timm names stages layer1, or stages.0, blocks.0, layers.0; with features_only stages_0, blocks_0, layers_0.
        tops = list(encoder.named_children())
        stages = [m for n, m in tops if re.fullmatch(r"(layer|stages_|blocks_|layers_)\d+", n)]
        nested = [m for n, m in tops if n in ("stages", "blocks", "layers")]
        found = [stages[-1]] if stages else [list(m.children())[-1] for m in nested]
    else:
        return []
    if not found:
        raise ValueError(f"this encoder has no part '{part}'; choose another")
    return found
