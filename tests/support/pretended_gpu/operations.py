"""How an operation runs on the pretended GPU: CUDA's rules for devices, then the CPU's arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from tests.support.pretended_gpu.counting import aten
from tests.support.pretended_gpu.tensor import INSIDE, CudaTensor, is_gpu

CPU = torch.device("cpu")
#: Operations whose index or source may lie on the CPU.
MIXED = {
    *(aten.copy_, aten._to_copy, aten._foreach_copy_, aten._foreach_copy, aten.index, aten.index_put_, aten.index_put),
    *(aten._index_put_impl_, aten._pin_memory, aten.is_pinned),
}
#: In bfloat16 a CPU's own take a hundred times as long: the numbers are rounded to it, the arithmetic is in float32.
SLOW = {aten.convolution, aten.convolution_backward, aten.mm, aten.addmm, aten.bmm}
#: Answers to the host, no tensors.
ANSWERS = {aten._local_scalar_dense, aten.equal, aten.is_nonzero}


def run(gpu: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """Run an operation.

    Args:
        gpu: the `PretendedGpu` that is on, or None.

    Raises:
        RuntimeError: tensors of two devices. OutOfMemoryError: `gpu.room` is too small for a convolution.
    """
    if func is torch.ops.prim.device.default:
        return INSIDE
    composite = torch._C.DispatchKey.CompositeImplicitAutograd
    if torch.is_inference_mode_enabled() and func.has_kernel_for_dispatch_key(composite):
        found = _decomposed(gpu, func, args, kwargs)
        if found is not NotImplemented:
            return found
    flat = list(_leaves((args, tuple(kwargs.values()))))
    name = func.overloadpacket
    ours = [x for x in flat if isinstance(x, CudaTensor)]
    plain = [x for x in flat if isinstance(x, Tensor) and not isinstance(x, CudaTensor) and x.device.type == "cpu"]
    _refuse_mixed(func, name, args, kwargs, ours, plain)
    if gpu is not None:
        if gpu.room is not None and name is aten.convolution and len(args[0]) > gpu.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        gpu.counts.add(name, args, kwargs, ours, plain)
    onto = is_gpu(kwargs["device"]) if kwargs.get("device") is not None else bool(ours)
    onto = isinstance(args[0], CudaTensor) if name is aten.copy_ else onto
    real_kwargs = {key: _real(value) for key, value in kwargs.items()}
    found = _compute(func, name, *_on_cpu(name, _real(args), real_kwargs))
    if name in ANSWERS or not onto:
        return found
    wrapped = {id(x.held): x for x in ours}  # an operation in place returns what it was given

    def wrap(x: Any) -> Any:
        if not isinstance(x, Tensor) or isinstance(x, CudaTensor):
            return x
        return wrapped[id(x)] if id(x) in wrapped else CudaTensor(x)

    # A view of a weight is none of inference mode's own.
    with torch.inference_mode(torch.is_inference_mode_enabled() and all(x.is_inference() for x in ours)):
        return wrap(found) if isinstance(found, Tensor) else tree_map(wrap, found)


def _leaves(x: Any) -> Iterator[Any]:
    """What lists within lists hold; torch's own trees take longer than the arithmetic."""
    if isinstance(x, list | tuple):
        for one in x:
            yield from _leaves(one)
    else:
        yield x


def _real(x: Any) -> Any:
    if isinstance(x, list | tuple):
        return type(x)([_real(one) for one in x])
    return x.held if isinstance(x, CudaTensor) else x


def _decomposed(gpu: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """In inference mode composite operations arrive whole."""
    TorchDispatchMode.__enter__(gpu)
    try:
        return func.decompose(*args, **kwargs)
    finally:
        TorchDispatchMode.__exit__(gpu, None, None, None)


def _on_cpu(name: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
    """Arguments that ask for the GPU ask for the CPU; a device may stand among the positional ones, too."""
    args = tuple(CPU if isinstance(x, torch.device) and is_gpu(x) else x for x in args)
    if kwargs.get("device") is not None:
        kwargs = {**kwargs, "device": CPU if is_gpu(kwargs["device"]) else kwargs["device"]}
    if name is aten._to_copy:
        kwargs = {key: value for key, value in kwargs.items() if key not in ("non_blocking", "pin_memory")}
    return args, kwargs


def _compute(func: Any, name: Any, args: Any, kwargs: Any) -> Any:
    if name is aten._fused_sdp_choice:
        return 0
    if name not in SLOW or not any(isinstance(x, Tensor) and x.dtype == torch.bfloat16 for x in args):
        return func(*args, **kwargs)
    wide = tree_map(lambda x: x.float() if isinstance(x, Tensor) and x.dtype == torch.bfloat16 else x, args)
    return tree_map(lambda x: x.bfloat16() if isinstance(x, Tensor) else x, func(*wide, **kwargs))


def _refuse_mixed(func: Any, name: Any, args: Any, kwargs: Any, ours: list[Any], plain: list[Tensor]) -> None:
    if ours and plain and name not in MIXED:
        written = [x for x in _written(func, args, kwargs) if isinstance(x, Tensor) and not isinstance(x, CudaTensor)]
        lists = str(name).startswith("aten._foreach") and _lists_fit(args)
        if (written or any(x.dim() for x in plain)) and not lists:
            raise RuntimeError(f"Expected all tensors to be on the same device, but found cuda:0 and cpu! ({func})")
    indexed = name in (aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_)
    if indexed and any(isinstance(x, Tensor) and not isinstance(x, CudaTensor) and x.is_meta for x in args[1]):
        raise RuntimeError(f"{func}: a list as an index, which torch uploads while the host waits: give a slice")
    if indexed and ours and not isinstance(args[0], CudaTensor):
        raise RuntimeError("indices should be either on cpu or on the same device as the indexed tensor (cpu)")


def _written(func: Any, args: Any, kwargs: Any) -> Iterator[Any]:
    """What an operation writes to."""
    for i, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            value = args[i] if i < len(args) else kwargs.get(argument.name)
            yield from value if isinstance(value, list | tuple) else [value]


def _lists_fit(args: Any) -> bool:
    """Lists of tensors, each position of one device, or a number on the CPU beside the GPU's."""
    lists = [a for a in args if isinstance(a, list | tuple) and a and isinstance(a[0], Tensor)]
    for position in zip(*lists, strict=False):
        on_gpu = [isinstance(x, CudaTensor) for x in position]
        if any(on_gpu) and not (on_gpu[0] and all(g or x.dim() == 0 for g, x in zip(on_gpu, position, strict=True))):
            return False
    return True
