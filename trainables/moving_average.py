"""Exponential moving average of a network's weights."""

from __future__ import annotations

from itertools import chain

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class MovingAverage(AveragedModel):
    """The average of all weights and buffers, whose decay grows from .1 to `decay`.

    A short training must not be an average of its start. Torch's own `update_parameters` asks the device for the number
    of updates; here it is asked on the host, and a GPU is not waited for.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__(model, use_buffers=True)
        self.decay = decay

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Add the weights after a step."""
        updates = int(self.n_averaged)
        pairs = zip(*(chain(each.parameters(), each.buffers()) for each in (self.module, model)), strict=True)
        floating, others = list[tuple[torch.Tensor, torch.Tensor]](), list[tuple[torch.Tensor, torch.Tensor]]()
        for pair in pairs:
            (floating if updates and pair[0].is_floating_point() else others).append(pair)
        if floating:
            averaged, current = map(list, zip(*floating, strict=True))
            get_ema_multi_avg_fn(min(self.decay, (1 + updates) / (10 + updates)))(averaged, current, updates)
        if others:  # the first of all; and indices and counters, which have no mean
            averaged, current = map(list, zip(*others, strict=True))
            torch._foreach_copy_(averaged, current)
        self.n_averaged += 1
