"""Bytes that tensors of the pretended GPU hold, by storage."""

from __future__ import annotations

import weakref

from torch import Tensor

#: Storage -> [tensors that hold it, bytes].
_held: dict[int, list[int]] = {}
#: What the allocator of a GPU would have given out.
held = {"now": 0, "peak": 0}


def hold(real: Tensor) -> None:
    """Count a tensor's storage until the last tensor that holds it is gone."""
    storage = real.untyped_storage()
    key = storage._cdata
    entry = _held.setdefault(key, [0, storage.nbytes()])
    if not entry[0]:
        held["now"] += entry[1]
        held["peak"] = max(held.values())
    entry[0] += 1
    weakref.finalize(real, _drop, key).atexit = False


def _drop(key: int) -> None:
    entry = _held[key]
    entry[0] -= 1
    if not entry[0]:
        held["now"] -= entry[1]
        del _held[key]
