"""Classification networks: any timm backbone, its own pooling, and one linear layer on it."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from difflib import get_close_matches
from functools import cache
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional

from search_spaces.cls import architecture
from search_spaces.recipes import Config
from trainables.models.se import squeeze_excite

#: Sides are padded to a multiple of it: what the deepest backbones shrink to one pixel.
STRIDE = 32
#: What timm's transformers call taking images of another size than they were made for, as far as they can.
_ANY_SIZE = {"dynamic_img_size": True, "dynamic_img_pad": True, "strict_img_size": False}


class ClassificationModel(nn.Module):
    """A network with its normalisation inside, so that a checkpoint carries both.

    ``forward``: grey images [B,1,H,W], uint8 or float, values 0..255 -> logits float32 [B, classes]. The backbone sees
    the grey image three times, normalised channel by channel. Any H and W, unless the backbone is one of the few that
    `check_encoder` refuses at other sizes than their own.

    Attributes:
        encoder: the timm network without its classifier, which pretrained weights fill and `freeze_epochs` freezes.
        attention: squeeze-and-excitation on the last feature map (head `se`), or nothing (head `gap`).
        head: dropout and the linear layer.
    """

    encoder: Any
    mean: Tensor
    std: Tensor

    def __init__(self, encoder: Any, *, classes: int, dropout: float, attention: nn.Module | None = None) -> None:
        super().__init__()
        self.encoder = encoder
        self.attention = attention or nn.Identity()
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(encoder.head_hidden_size, classes))
        self.register_buffer("mean", torch.zeros(1, 3, 1, 1))
        self.register_buffer("std", torch.ones(1, 3, 1, 1))

    def set_normalisation(self, mean: float | Sequence[float], std: float | Sequence[float]) -> None:
        """Mean and std, for all channels or for each, of images scaled to 0..1."""
        for buffer, value in ((self.mean, mean), (self.std, std)):
            buffer.copy_(torch.as_tensor(value, dtype=buffer.dtype).reshape(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        # The subtraction also repeats the grey channel, as the mean has one entry per channel.
        x = (images.float() / 255 - self.mean) / self.std
        x = functional.pad(x, (0, -width % STRIDE, 0, -height % STRIDE), mode="replicate")
        x = self.attention(self.encoder.forward_features(x))
        logits: Tensor = self.head(self.encoder.forward_head(x, pre_logits=True))
        return logits.float()


def build(config: Config, classes: int) -> ClassificationModel:
    """The network of a configuration, with random weights and no normalisation yet (mean 0, std 1).

    To be filled by `weights.load(model.encoder, ...)` and `set_normalisation`, or from a checkpoint. Keys read:
    `architecture`, `head` and `dropout`.

    Raises:
        ValueError: unknown architecture or head, or the SE head on a backbone without a feature map.
    """
    entry, head = architecture(config["architecture"]), config["head"]
    if head not in ("gap", "se"):
        raise ValueError(f"unknown head '{head}': choose gap or se")
    if head == "se" and not entry.has_map:
        raise ValueError(f"architecture '{entry.name}' has no feature map for the head 'se': choose gap")
    encoder = _encoder(entry.encoders[0])
    attention = squeeze_excite(encoder.num_features) if head == "se" else None
    return ClassificationModel(encoder, classes=classes, dropout=config["dropout"], attention=attention)


def check_encoder(name: str, image_size: int) -> None:
    """Try a timm backbone on an image of this size, without memory or arithmetic (on the meta device).

    Raises:
        ValueError: timm has no such backbone (the message names similar ones), or it cannot be used at this size.
    """
    _require_known(name)
    try:
        with torch.device("meta"):
            model = ClassificationModel(_encoder(name), classes=2, dropout=0.0)
            model(torch.empty(2, 1, image_size, image_size))
    except Exception as error:  # each of timm's thousand models refuses in its own way
        size = timm.get_pretrained_cfg_value(name, "input_size")
        advice = f"made for {size[-1]} px; " if size else ""
        raise ValueError(
            f"timm's '{name}' does not work as a classifier at {image_size} px ({advice}{str(error).splitlines()[0]}); "
            "choose another --image-size or architecture"
        ) from error


def _encoder(name: str) -> Any:
    """A timm network without its classifier that keeps the tensors of its weights at any image size."""
    return timm.create_model(name, pretrained=False, num_classes=0, **_options(name))


@cache
def _options(name: str) -> dict[str, Any]:
    _require_known(name)
    with torch.device("meta"):
        accepted = inspect.signature(type(timm.create_model(name, pretrained=False))).parameters
    return {option: value for option, value in _ANY_SIZE.items() if option in accepted}


def _require_known(name: str) -> None:
    if not timm.is_model(name):
        similar = get_close_matches(name, timm.list_models(), n=5)
        advice = f"did you mean {', '.join(similar)}?" if similar else "see timm.list_models()"
        raise ValueError(f"timm has no model '{name}': {advice}")
