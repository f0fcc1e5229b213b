"""Stands in for NVML, the driver's own figures: a card that draws 200 W."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace


class NvmlDriver:
    """What is asked of `pynvml`; a card that is not `known` tells nothing."""

    class NVMLError(Exception):
        """What NVML raises of what a card does not know."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter, known: bool = True) -> None:
        self.clock, self.known = clock, known

    def _of(self, handle: str, value: object) -> object:
        assert handle == "card"
        if not self.known:
            raise self.NVMLError
        return value

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> object:
        return self._of(handle, int(self.clock() * 200 * 1000))

    def nvmlDeviceGetUtilizationRates(self, handle: str) -> object:
        return self._of(handle, SimpleNamespace(gpu=87, memory=40))

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> object:
        return self._of(handle, SimpleNamespace(used=20_000_000, total=80_000_000))
