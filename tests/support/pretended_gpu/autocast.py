"""Autocast for the pretended GPU: torch's own would ask the tensors, in C++, whether they are CUDA's."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional
from torch.utils._pytree import tree_map

from tests.support.pretended_gpu.tensor import CudaTensor

#: As in torch's lists for CUDA: computed in the lower precision, and in float32.
LOW = {
    *(torch.conv1d, torch.conv2d, torch.conv3d, torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d),
    *(functional.conv2d, functional.conv_transpose2d, functional.linear, torch._C._nn.linear, torch.matmul, torch.mm),
    *(torch.Tensor.matmul, torch.Tensor.__matmul__, torch.bmm, torch.addmm, torch.baddbmm, torch.Tensor.mm),
    *(torch.Tensor.bmm, functional.scaled_dot_product_attention, torch.prelu, torch.einsum),
}
HIGH = {
    *(torch.exp, torch.log, torch.softmax, functional.softmax, torch.Tensor.softmax, functional.log_softmax),
    *(torch.log_softmax, torch.pow, torch.Tensor.pow, torch.layer_norm, functional.layer_norm, torch.group_norm),
    *(functional.group_norm, torch.norm, torch.rsqrt, torch.reciprocal, torch.prod, torch.cumsum, torch.sum),
    *(torch.Tensor.sum, functional.softplus, functional.interpolate, functional.cross_entropy, functional.nll_loss),
    *(functional.binary_cross_entropy_with_logits, functional.mse_loss),
}


class Autocast(torch.overrides.TorchFunctionMode):
    """Casts the arguments of listed functions while autocast is on."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not torch.is_autocast_enabled("cuda") or (func not in LOW and func not in HIGH):
            return func(*args, **kwargs)
        to = torch.get_autocast_dtype("cuda") if func in LOW else torch.float32

        def cast(x: Any) -> Any:
            fits = isinstance(x, CudaTensor) and x.is_floating_point() and x.dtype not in (torch.float64, to)
            return x.to(to) if fits else x

        with torch.autocast("cuda", enabled=False):
            return func(*tree_map(cast, args), **tree_map(cast, kwargs))
