"""Optimizers by name, with the groups of parameters that recipes ask for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from search_spaces.recipes import Config

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adamw": torch.optim.AdamW,
    "adam": torch.optim.Adam,
    "sgd": torch.optim.SGD,
}


def build_optimizer(model: Any, config: Config) -> torch.optim.Optimizer:
    """The optimizer of a TaskModel, on its device.

    Args:
        config: keys read: `optimizer`, `lr`, `weight_decay`, and `head_weight_decay` (of linear layers outside the
            encoder) where it is there.
    """
    options: dict[str, Any] = {"lr": config["lr"], "weight_decay": config["weight_decay"]}
    if config["optimizer"] == "sgd":
        options["momentum"] = 0.9
    encoder = list(model.encoder.parameters()) if model.encoder is not None else []
    inside = {id(parameter) for parameter in encoder}
    others = [parameter for parameter in model.parameters() if id(parameter) not in inside]
    linear = [parameter for parameter in others if parameter.ndim == 2]
    others = [parameter for parameter in others if parameter.ndim != 2]
    decay = config.get("head_weight_decay", config["weight_decay"])
    groups: list[dict[str, Any]] = [{"params": others}, {"params": encoder}, {"params": linear, "weight_decay": decay}]
    on_gpu = next(model.parameters()).device.type == "cuda"
    made = OPTIMIZERS[config["optimizer"]](
        [group for group in groups if group["params"]], fused=on_gpu or None, **options
    )
    if on_gpu:
        _allocate(made)
    return made


def _allocate(optimizer: torch.optim.Optimizer) -> None:
    """Make the optimizer's state now: torch makes it in the first step, which would be half done without the memory.

    A step of rate 0 along gradients of 0 leaves weights and moments as they are; only Adam counts it.
    """
    rates = [group["lr"] for group in optimizer.param_groups]
    for group in optimizer.param_groups:
        group["lr"] = 0.0
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
    for state in optimizer.state.values():
        if "step" in state:
            state["step"].zero_()
