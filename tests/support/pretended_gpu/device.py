"""The pretended GPU as a context: while it is on, this process has one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import cache
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import _foreach_supported_types
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from tests.support.pretended_gpu.autocast import Autocast
from tests.support.pretended_gpu.counting import Counts
from tests.support.pretended_gpu.memory import held
from tests.support.pretended_gpu.operations import run
from tests.support.pretended_gpu.tensor import CudaTensor, is_gpu

TOTAL, OUTSIDE = 80 * 2**30, 500 * 2**20
_active: PretendedGpu | None = None
CudaTensor.run = staticmethod(lambda func, args, kwargs: run(_active, func, args, kwargs))


@cache
def _prepare_process() -> None:
    """Once, and for good: torch must not ask CUDA's driver, which is not there, for a device or for streams."""
    from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

    _setup_privateuseone_for_python_backend("pretended")
    torch._C._ensureCUDADeviceGuardSet()


class PretendedGpu(TorchDispatchMode):
    """Code that names CUDA runs for real (values, autograd, autocast, optimizers) on tensors that say `cuda:0`.

    Operations that mix devices raise as CUDA's do. In float32 results are the CPU's to the bit.

    Attributes:
        counts: see `Counts`; `clear` begins anew. memory: bytes held "now" and at "peak".
        room: images in a convolution beyond which memory runs out; None for no end.

    Args:
        capability: of the card: 7.5 has no bfloat16 of its own.
    """

    memory = held

    def __init__(self, capability: tuple[int, int] = (9, 0)) -> None:
        super().__init__()
        self.capability, self.room = capability, None
        self.clear()

    def clear(self) -> None:
        """Count from zero."""
        self.counts = Counts()

    def __enter__(self) -> PretendedGpu:
        global _active
        _prepare_process()
        self._stack = ExitStack()
        for name, answer in self._answers().items():
            self._put(torch.cuda, name, answer)
        self._put(torch, "Generator", lambda device=None, real=torch.Generator: real("cpu"))
        self._put(Tensor, "pin_memory", _pinned)
        self._put(
            torch, "save", lambda what, *args, real=torch.save, **named: real(tree_map(_home, what), *args, **named)
        )
        self._put(torch, "load", _loader(torch.load))
        self._put(torch.backends.cudnn, "enabled", False)  # else batch norm picks cuDNN's own operator
        _foreach_supported_types.append(CudaTensor)
        self._stack.callback(_foreach_supported_types.remove, CudaTensor)
        self._stack.enter_context(Autocast())
        self._stack.enter_context(torch.autograd.set_multithreading_enabled(False))  # one thread, and no streams
        future = torch.__future__  # `.data =` would lose the class
        self._stack.callback(future.set_overwrite_module_params_on_conversion, False)
        future.set_overwrite_module_params_on_conversion(True)
        self._stack.callback(torch._C._set_only_lift_cpu_tensors, torch._C._only_lift_cpu_tensors())
        torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(..., device="cuda") then asks us to move what it made
        _active = self
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        global _active
        _active = None
        super().__exit__(*error)
        self._stack.close()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(self, func, args, kwargs or {})

    def _answers(self) -> dict[str, Callable[..., Any]]:
        """What `torch.cuda` says of it."""
        return {
            **dict.fromkeys(("_lazy_init", "init", "empty_cache", "manual_seed", "manual_seed_all"), lambda *_: None),
            **dict.fromkeys(("is_available", "is_initialized"), lambda: True),
            "device_count": lambda: 1,
            "current_device": lambda: 0,
            **dict.fromkeys(("synchronize", "set_per_process_memory_fraction"), lambda *_: None),
            "get_device_name": lambda *_: "Pretended",
            "get_device_properties": lambda *_: SimpleNamespace(name="Pretended", total_memory=TOTAL),
            "get_device_capability": lambda *_: self.capability,
            "is_bf16_supported": lambda including_emulation=True: including_emulation or self.capability[0] >= 8,
            "reset_peak_memory_stats": lambda *_: held.update(peak=held["now"]),
            "memory_reserved": lambda *_: held["peak"],
            "max_memory_reserved": lambda *_: held["peak"],
            "memory_allocated": lambda *_: held["now"],
            "mem_get_info": lambda *_: (TOTAL - OUTSIDE - held["peak"], TOTAL),
        }

    def _put(self, owner: Any, name: str, value: Any) -> None:
        self._stack.callback(setattr, owner, name, getattr(owner, name))
        setattr(owner, name, value)


def _home(x: Any) -> Any:
    return x.to("cpu") if isinstance(x, CudaTensor) else x


def _pinned(tensor: Tensor, device: Any = None) -> Tensor:
    if isinstance(tensor, CudaTensor):
        raise RuntimeError("cannot pin 'torch.cuda.FloatTensor' only dense CPU tensors can be pinned")
    copy = tensor.clone()
    copy.pretended_pinned = True
    return copy


def _loader(load: Callable[..., Any]) -> Callable[..., Any]:
    def loaded(*args: Any, map_location: Any = None, **named: Any) -> Any:
        found = load(*args, map_location="cpu", **named)
        return (
            tree_map(lambda x: x.to("cuda") if isinstance(x, Tensor) else x, found) if is_gpu(map_location) else found
        )

    return loaded
