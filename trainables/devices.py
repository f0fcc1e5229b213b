"""What a device is and can do: its arithmetic, its name for a person, and memory that goes to it without a wait."""

from __future__ import annotations

import functools
import subprocess
from dataclasses import dataclass

import torch
from torch import Tensor

from trainables.memory import is_out_of_memory

#: Bytes that CUDA takes of a GPU for each process, beside what torch allocates: rather more than it is.
CONTEXT = 600 * 2**20


class UnusableGpuError(RuntimeError):
    """A GPU that is there and cannot be trained on; one line says why, and what to do."""


@dataclass(frozen=True)
class Card:
    """A GPU: its name, its memory in bytes, whether it computes in bfloat16."""

    name: str
    memory: int
    bfloat16: bool


def try_out() -> Card:
    """Allocate, convolve and go backward on this process's GPU.

    Raises:
        UnusableGpuError: it cannot.
    """
    device = torch.device("cuda")
    try:
        layer = torch.nn.Conv2d(8, 8, 3, device=device)
        layer(torch.ones(2, 8, 16, 16, device=device)).sum().backward()
        torch.cuda.synchronize()
        properties = torch.cuda.get_device_properties(device)
        return Card(properties.name, properties.total_memory, has_bfloat16(device))
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        why, card = str(error).strip().splitlines()[0][:200], _driver()
        if isinstance(error, RuntimeError) and is_out_of_memory(error):
            raise UnusableGpuError(f"{card}: its memory is full ({why}); end what else runs on it") from None
        build = f"torch {torch.__version__} for CUDA {torch.version.cuda}"
        raise UnusableGpuError(
            f"{card} cannot be used by {build} ({why}); install a driver and a torch build that fit each other and the "
            "card, see docs/gpu.md; or give --gpus-per-trial 0"
        ) from None


def find(name: str) -> torch.device:
    """The device of a name: cpu, cuda, mps (Apple's GPU), or auto: CUDA's GPU where there is one, else the CPU.

    Raises:
        UnusableGpuError: torch finds no such GPU here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    there = torch.cuda.is_available() if name == "cuda" else name != "mps" or torch.backends.mps.is_available()
    if not there:
        raise UnusableGpuError(f"{name}: torch {torch.__version__} finds no such GPU here; take cpu, or auto")
    return torch.device(name)


def _driver() -> str:
    """The card and its driver, as nvidia-smi names them."""
    command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
        name, version = said.splitlines()[0].split(", ")
    except (OSError, subprocess.SubprocessError, IndexError, ValueError):
        return "a GPU (nvidia-smi does not answer)"
    return f"{name} (driver {version})"


def autocast(device: torch.device) -> torch.autocast:
    """Networks compute in bfloat16 where the device's own arithmetic has it, else in float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=has_bfloat16(device))


@functools.cache
def has_bfloat16(device: torch.device) -> bool:
    """Whether a GPU computes in bfloat16; torch says so, too, of cards that only emulate it, slower than float32."""
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def limit_memory(gpus: float) -> None:
    """See that a process with a fraction of a GPU takes no more of its memory; torch's allocator then raises."""
    if 0 < gpus < 1:
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(max(0.01, gpus - CONTEXT / total))


def upload(tensor: Tensor, device: torch.device) -> Tensor:
    """A host's tensor on a device. A GPU reads pinned memory by itself: the host need not wait for it."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def shown(device: torch.device) -> str:
    """A device for a person: "cpu", "cuda (NVIDIA H100 80GB HBM3)" or "mps (Apple's GPU)"."""
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    return "mps (Apple's GPU)" if device.type == "mps" else device.type
