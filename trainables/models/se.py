"""Squeeze-and-excitation: channels weighed by what the whole feature map holds."""

from __future__ import annotations

from timm.layers.squeeze_excite import SEModule
from torch import nn

#: Channels of the map over channels of the bottleneck, as published.
REDUCTION = 16


def squeeze_excite(channels: int) -> nn.Module:
    """Hu et al., "Squeeze-and-excitation networks", CVPR 2018, arXiv:1709.01507.

    Takes and gives a feature map, floating point [B, channels, H, W]; each channel is multiplied by its weight in 0..1.
    """
    return SEModule(channels, rd_ratio=1 / REDUCTION, rd_divisor=1)
