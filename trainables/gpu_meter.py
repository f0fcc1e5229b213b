"""What a trial's GPU does and what that costs: utilisation, memory, power and energy, as the driver (NVML) tells them.

The figures bear MLflow's names of system metrics. A trial sees one GPU, number 0.
"""

from __future__ import annotations

import time
from typing import Any

#: Watt-hours since the last reading: the trial's share of its GPU.
ENERGY = "system/energy_watt_hours"


class GpuMeter:
    """Reads one GPU; what its driver does not know has no figure.

    Args:
        nvml: the module `pynvml`, initialised.
        handle: the GPU, as `nvml` has it.
        share: the trial's part of the GPU; utilisation, memory and power are those of the whole.
    """

    def __init__(self, nvml: Any, handle: Any, share: float) -> None:
        self._nvml, self._handle, self._share = nvml, handle, share
        self.start()

    def start(self) -> None:
        """Count energy from now on."""
        self._joules, self._since = self._counted(), time.perf_counter()

    def load(self) -> dict[str, float]:
        """Utilisation (percent of the driver's last period, below a second) and memory (MB, percent) now."""
        busy, memory = self._ask("nvmlDeviceGetUtilizationRates"), self._ask("nvmlDeviceGetMemoryInfo")
        figures = {"utilization_percentage": float(busy.gpu)} if busy else {}
        if memory:
            figures["memory_usage_megabytes"] = memory.used / 1e6
            figures["memory_usage_percentage"] = 100 * memory.used / memory.total
        return {f"system/gpu_0_{name}": value for name, value in figures.items()}

    def spent(self) -> dict[str, float]:
        """Mean power (W) and energy (Wh) since the start, or since the last call."""
        joules, since = self._joules, self._since
        self.start()
        if joules is None or self._joules is None:
            return {}
        used = self._joules - joules
        return {"system/gpu_0_power_usage_watts": used / (self._since - since), ENERGY: used * self._share / 3600}

    def _counted(self) -> float | None:
        """Joules since the driver was loaded; cards before Volta do not count them."""
        millijoules = self._ask("nvmlDeviceGetTotalEnergyConsumption")
        return None if millijoules is None else millijoules / 1000

    def _ask(self, what: str) -> Any:
        try:
            return getattr(self._nvml, what)(self._handle)
        except self._nvml.NVMLError:
            return None


def find(share: float) -> GpuMeter | None:
    """The meter of this process's GPU; None without a GPU, without `nvidia-ml-py`, or where the driver has none."""
    if not share:
        return None
    import torch  # late: who reads results needs a name of this file alone

    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        uuid = f"GPU-{torch.cuda.get_device_properties(0).uuid}"
        return GpuMeter(pynvml, pynvml.nvmlDeviceGetHandleByUUID(uuid), share)
    except pynvml.NVMLError:
        return None
