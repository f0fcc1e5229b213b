"""What of an operation a GPU's host would feel: waits, uploads, launches."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.support.pretended_gpu.tensor import CudaTensor, is_gpu

aten = torch.ops.aten
ROOT = f"{Path(__file__).resolve().parents[3]}/"
OURS = (f"{ROOT}trainables/", f"{ROOT}orchestrator/")
#: Operations for which the host must know what the device computed.
WAITS = {
    *(aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten.equal, aten.is_nonzero, aten._unique2),
    *(aten.unique_dim, aten.allclose, aten.bincount),
}
#: Of no work for a device.
VIEWS = {
    *(aten.detach, aten.view, aten.alias, aten.t, aten.transpose, aten.permute, aten.expand, aten.slice, aten.select),
    *(aten.unsqueeze, aten.squeeze, aten._unsafe_view, aten.as_strided, aten.split, aten.unbind, aten._reshape_alias),
    *(aten.split_with_sizes, aten.empty, aten.empty_like, aten.diagonal, aten.empty_strided, aten.new_empty),
}


class Counts:
    """`waits` by (kind, file:line); `uploads` by (file:line, "pinned" or "pageable"); `launches` of kernels."""

    def __init__(self) -> None:
        self.waits, self.uploads = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
        self.launches = 0

    def add(self, name: Any, args: Any, kwargs: Any, ours: list[Any], plain: list[Tensor]) -> None:
        """Count an operation on tensors of the GPU, or one that makes some."""
        if not (ours or is_gpu(kwargs.get("device"))):
            return
        self.launches += name not in VIEWS
        if wait := _wait(name, args, kwargs, ours):
            self.waits[wait, _caller()] += 1
        copied = name is aten.copy_ and isinstance(args[0], CudaTensor) and not isinstance(args[1], CudaTensor)
        if copied or (name is aten._to_copy and not ours and plain and is_gpu(kwargs.get("device"))):
            source = args[1] if copied else args[0]
            self.uploads[_caller(), "pinned" if getattr(source, "pretended_pinned", False) else "pageable"] += 1


def _wait(name: Any, args: Any, kwargs: Any, ours: list[Any]) -> str:
    """What the host waits for; "" for nothing."""
    if not ours:
        return ""
    if name in WAITS:
        return str(name).split(".")[-1]
    if name is aten.index:
        masks = (i for i in args[1] if isinstance(i, CudaTensor) and i.dtype in (torch.bool, torch.uint8))
        return "index by a mask" if any(True for _ in masks) else ""
    away = name is aten._to_copy and kwargs.get("device") is not None and not is_gpu(kwargs["device"])
    onto_cpu = name is aten.copy_ and not isinstance(args[0], CudaTensor) and isinstance(args[1], CudaTensor)
    return "to the CPU" if away or onto_cpu else ""


def _caller() -> str:
    """The line of the project that asked."""
    frame = sys._getframe(3)
    while frame:
        file = frame.f_code.co_filename
        if file.startswith(OURS):
            return f"{file.removeprefix(ROOT)}:{frame.f_lineno}"
        frame = frame.f_back
    return "(backward, or a library that a test called)"
