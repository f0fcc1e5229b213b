"""What plugins register, for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any

from search_spaces import cls, multi, seg
from trainables import plugins
from trainables.data.layouts import LAYOUTS
from trainables.losses.cls import LOSSES as CLASS_LOSSES
from trainables.losses.seg import LOSSES, PIXEL
from trainables.policies import POLICIES

#: By name, and names that are sampled.
REGISTRIES: tuple[dict[str, Any], ...] = (
    *(seg.ARCHITECTURES, cls.ARCHITECTURES, multi.ARCHITECTURES),
    *(LOSSES, PIXEL, CLASS_LOSSES, POLICIES, LAYOUTS, plugins._loaded),
)
SAMPLED = (seg.LOSSES, cls.LOSSES, seg.AUGMENTATIONS, cls.AUGMENTATIONS)


def registered() -> list[Any]:
    """All registries as they are."""
    return [copy(one) for one in (*REGISTRIES, *SAMPLED)]


@contextmanager
def forgotten() -> Iterator[None]:
    """What plugins that run in here register, and that they ran, is forgotten afterwards, as in another process."""
    before = registered()
    try:
        yield
    finally:
        for registry, was in zip(REGISTRIES, before, strict=False):
            registry.clear()
            registry.update(was)
        for names, was in zip(SAMPLED, before[len(REGISTRIES) :], strict=True):
            names[:] = was
