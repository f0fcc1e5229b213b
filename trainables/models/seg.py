"""Segmentation networks: one builder that interprets the architecture registry of `search_spaces.seg`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import segmentation_models_pytorch as smp
import torch
from timm.models.efficientnet import EfficientNetFeatures
from timm.models.mobilenetv3 import MobileNetV3Features
from torch import Tensor, nn
from torch.nn import functional

from search_spaces.recipes import Config
from search_spaces.seg import Architecture, architecture
from trainables.models import blocks

#: Every network here halves its input at most five times.
STRIDE = 32


class SegmentationModel(nn.Module):
    """A network with its normalisation inside, so that a checkpoint carries both.

    Args:
        net: maps normalised images [B,channels,H,W], H and W multiples of 32, to logits.
        channels: 3 for an encoder made for colour images, 1 for a network from scratch.
        smallest: least side in pixels that `net` can take; smaller images are padded to it.

    ``forward``: grey images [B,1,H,W], uint8 or float, values 0..255, any H and W -> logits float32 [B,1,H,W].
    An encoder sees the grey image three times, normalised channel by channel; a from-scratch network once.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, net: nn.Module, channels: int, smallest: int = STRIDE) -> None:
        super().__init__()
        self.net, self.smallest = net, smallest
        self.register_buffer("mean", torch.zeros(1, channels, 1, 1))
        self.register_buffer("std", torch.ones(1, channels, 1, 1))

    @property
    def encoder(self) -> nn.Module | None:
        """The timm network that pretrained weights fill and `freeze_epochs` freezes; None where all is from scratch."""
        encoder = getattr(self.net, "encoder", None)
        return None if encoder is None else encoder.model

    def set_normalisation(self, mean: float | Sequence[float], std: float | Sequence[float]) -> None:
        """Mean and std, for all channels or for each, of images scaled to 0..1."""
        for buffer, value in ((self.mean, mean), (self.std, std)):
            buffer.copy_(torch.as_tensor(value, dtype=buffer.dtype).reshape(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        logits: Tensor = self.net(self.prepare(images))
        return logits[..., :height, :width].float()

    def prepare(self, images: Tensor) -> Tensor:
        """Normalised float images [B,channels,H',W'], padded below and on the right to sides that the network takes."""
        # The subtraction also repeats the grey channel, as the mean has one entry per channel.
        x = (images.float() / 255 - self.mean) / self.std
        below, right = (max(self.smallest - side, -side % STRIDE) for side in images.shape[-2:])
        return functional.pad(x, (0, right, 0, below), mode="replicate")


def build(config: Config) -> SegmentationModel:
    """The network of a configuration, with random weights and no normalisation yet (mean 0, std 1).

    To be filled by `weights.load(model.encoder, ...)` and `set_normalisation`, or from a checkpoint. Keys read:
    `architecture`, `encoder`, and `dropout` of a from-scratch network, whose builder takes widths and dropout.

    Raises:
        ValueError: unknown architecture, or an encoder that it was not tried with.
    """
    entry = architecture(config["architecture"])
    if not entry.encoders:
        net = _builder(blocks, entry)(entry.widths, config["dropout"])
        return SegmentationModel(net, channels=1, smallest=entry.smallest)
    return SegmentationModel(pretrainable(entry, config["encoder"]), channels=3, smallest=entry.smallest)


def _builder(library: Any, entry: Architecture) -> Any:
    return getattr(library, entry.builder) if isinstance(entry.builder, str) else entry.builder


def pretrainable(entry: Architecture, encoder: str, **options: Any) -> Any:
    """The registry entry's network, an nn.Module of segmentation_models_pytorch around a timm encoder, random weights.

    Args:
        entry: an architecture with encoders.
        encoder: timm name.
        options: passed on to the library (`aux_params` for a class head).

    Raises:
        ValueError: an encoder that the architecture was not tried with.
    """
    if encoder not in entry.encoders:
        raise ValueError(
            f"architecture '{entry.name}' has no encoder '{encoder}': choose from {', '.join(entry.encoders)}"
        )
    # "tu-": smp's prefix for an encoder by its timm name. Weights are ours to load: smp would ask the hub.
    net = _builder(smp, entry)(f"tu-{encoder}", encoder_weights=None, **options)
    _drop_unread_blocks(net.encoder.model)
    return net


def _drop_unread_blocks(encoder: nn.Module) -> None:
    """timm's EfficientNets keep and compute stages behind the last feature map asked for (PSPNet asks for three)."""
    if isinstance(encoder, EfficientNetFeatures | MobileNetV3Features):
        last = int(encoder.feature_info.module_name()[-1].split(".")[1])
        encoder.blocks = encoder.blocks[: last + 1]
