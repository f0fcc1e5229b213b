"""The two from-scratch networks of the reference projects: a U-Net, plain or residual.

U-Net: Ronneberger et al., MICCAI 2015, arXiv:1505.04597. Residual form: Zhang et al., "Road extraction by deep
residual U-Net", GRSL 2018, arXiv:1711.10684 (here with post-activation and a 1x1 convolution + BN as shortcut).
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn


class DoubleConv(nn.Sequential):
    """conv3x3-BN-ReLU-dropout-conv3x3-BN-ReLU: [B,in,H,W] -> [B,out,H,W]."""

    def __init__(self, inputs: int, outputs: int, dropout: float) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )


class ResidualConv(nn.Module):
    """The same two convolutions around a 1x1-BN shortcut, added before the last ReLU."""

    def __init__(self, inputs: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.body = nn.Sequential(*list(DoubleConv(inputs, outputs, dropout))[:-1])
        self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


class UNet(nn.Module):
    """U-Net with one level per width, the last of them the bridge; float [B,1,H,W] -> logits [B,1,H,W].

    H and W must be multiples of ``2 ** (len(widths) - 1)``. Down: 2x2 max pooling; up: 2x2 transposed convolution.
    """

    block: type[DoubleConv] | type[ResidualConv] = DoubleConv

    def __init__(self, widths: tuple[int, ...], dropout: float) -> None:
        super().__init__()
        steps = list(pairwise(widths))
        self.stem = self.block(1, widths[0], dropout)
        self.down = nn.ModuleList(self.block(a, b, dropout) for a, b in steps)
        self.up = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, stride=2) for a, b in reversed(steps))
        self.merge = nn.ModuleList(self.block(2 * a, a, dropout) for a, _ in reversed(steps))
        self.head = nn.Conv2d(widths[0], 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        skips = []
        for down in self.down:
            skips.append(x)
            x = down(nn.functional.max_pool2d(x, 2))
        for up, merge in zip(self.up, self.merge, strict=True):
            x = merge(torch.cat([up(x), skips.pop()], dim=1))
        logits: torch.Tensor = self.head(x)
        return logits


class ResUNet(UNet):
    """The residual U-Net: the same shape, residual blocks."""

    block = ResidualConv
