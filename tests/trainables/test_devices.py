"""What a GPU can be, and how its errors are told, on a machine that has none."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from trainables import devices
from trainables.memory import is_out_of_memory

no_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")


@pytest.mark.parametrize(
    "message",
    [
        "CUDA error: out of memory",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "GET was unable to find an engine to execute this computation",
        "Unable to find a valid cuDNN algorithm to run convolution",
        "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED",
    ],
)
def test_out_of_memory_in_disguise_is_known(message: str) -> None:
    assert is_out_of_memory(RuntimeError(message))
    assert not is_out_of_memory(RuntimeError("CUDA error: device-side assert triggered"))


@no_cuda
def test_a_gpu_that_torch_cannot_use_is_told_in_one_line() -> None:
    with pytest.raises(devices.UnusableGpuError) as told:
        devices.try_out()
    line = str(told.value)
    assert "\n" not in line
    assert f"torch {torch.__version__}" in line
    assert line.endswith("or give --gpus-per-trial 0")


def test_a_full_gpu_is_told_as_full(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 MiB.\nSee documentation")

    monkeypatch.setattr(torch.nn, "Conv2d", full)
    with pytest.raises(
        devices.UnusableGpuError, match=r"its memory is full \(CUDA out of memory.*MiB\.\); end what else"
    ):
        devices.try_out()


def test_a_packed_trial_may_take_its_share_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[float] = []
    total = 80 * 2**30
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=total))
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", limits.append)
    for gpus in (0.0, 1.0, 0.25):
        devices.limit_memory(gpus)
    (limit,) = limits
    assert limit * total == 0.25 * total - devices.CONTEXT, "what CUDA takes for the process is not torch's to give"


def test_a_cpu_trains_in_float32() -> None:
    with devices.autocast(torch.device("cpu")):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
    assert devices.shown(torch.device("cpu")) == "cpu"


def test_a_device_is_found_by_its_name() -> None:
    assert devices.find("cpu") == torch.device("cpu")
    assert devices.find("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    if not torch.backends.mps.is_available():
        with pytest.raises(devices.UnusableGpuError, match="mps: torch"):
            devices.find("mps")
