"""What to do when memory runs out: the same again in smaller pieces."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TypeVar

import torch

Result = TypeVar("Result")

#: torch's allocator on a CPU, and CUDA's libraries outside it, raise a RuntimeError of no class of its own. A library
#: that finds no memory for its workspace says that it found no algorithm, or that it could not begin.
MESSAGES = (
    "can't allocate memory",
    "CUDA error: out of memory",
    "ALLOC_FAILED",
    "unable to find an engine to execute this computation",
    "Unable to find a valid cuDNN algorithm",
    "CUBLAS_STATUS_NOT_INITIALIZED",
    "CUDNN_STATUS_INTERNAL_ERROR",
)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether memory of the device ran out, be it a GPU or a CPU."""
    return isinstance(error, torch.OutOfMemoryError) or any(text in str(error) for text in MESSAGES)


def halving(attempt: Callable[[int], Result], size: int, *, least: int) -> tuple[Result, int]:
    """`attempt(size)`, again with half the size whenever memory runs out: its result, and the size that it took.

    Raises:
        RuntimeError: memory runs out at the `least` size; and whatever else `attempt` raises.
    """
    while True:
        try:
            return attempt(size), size
        except RuntimeError as error:
            if size <= least or not is_out_of_memory(error):
                raise
        # Not in the `except`: there the traceback still holds the tensors of what failed.
        size = max(least, (size + 1) // 2)
        release()


def release() -> None:
    """Give back what nothing uses any more: another process may want it of the same GPU."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
