"""A tensor that says `cuda:0`; its numbers are on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tests.support.pretended_gpu.memory import hold

DEVICE = torch.device("cuda", 0)
#: What a device can be that means the pretended GPU. Torch's C++ is told "meta": of CUDA, its autograd would want
#: streams, and so the driver. Dispatch keys, and what Python sees, are CUDA's.
INSIDE = torch.device("meta")


def is_gpu(device: Any) -> bool:
    """Whether a device that was asked for is the pretended GPU."""
    return device is not None and torch.device(device).type in ("cuda", "meta")


class CudaTensor(Tensor):
    """Says cuda:0; `real` is on the CPU."""

    real: Tensor
    run: Callable[..., Any]  # set by `operations`, which needs this class
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, real: Tensor) -> CudaTensor:
        made = Tensor._make_wrapper_subclass(
            cls,
            real.size(),
            strides=real.stride(),
            storage_offset=real.storage_offset(),
            dtype=real.dtype,
            layout=real.layout,
            device=DEVICE,
            dispatch_device=True,
            requires_grad=False,
        )
        made.held = real
        hold(real)
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return cls.run(func, args, kwargs or {})

    def __repr__(self, **options: Any) -> str:
        return f"CudaTensor({self.held})"

    @property
    def device(self) -> torch.device:
        return DEVICE

    @property
    def is_meta(self) -> bool:
        return False

    @property
    def is_cuda(self) -> bool:
        return True

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def __deepcopy__(self, memo: dict[int, Any]) -> CudaTensor:
        if id(self) not in memo:
            with torch.no_grad():
                new = CudaTensor(self.held.clone(memory_format=torch.preserve_format))
            new.requires_grad_(self.requires_grad)
            if getattr(self, "_is_param", False):
                new._is_param = True
            memo[id(self)] = new
        return memo[id(self)]
