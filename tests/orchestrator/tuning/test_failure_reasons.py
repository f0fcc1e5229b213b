"""What is told of a failure: its error's first line, and whose fault it is."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray.exceptions import RayTaskError

from orchestrator.tuning.failures import Failure, FailurePolicy
from trainables.devices import UnusableGpuError

CUDA = (
    "CUDA error: an illegal memory access was encountered\n"
    "CUDA kernel errors might be asynchronously reported at some other API call.\n"
    "Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions."
)


def failed(error: Exception, folder: Path) -> Any:
    """A trial as Tune leaves it when a step raises."""
    trial = SimpleNamespace(error_file=str(folder / "error.txt"), pickled_error_file=str(folder / "error.pkl"))
    wrapped = RayTaskError("step", f"Traceback\n{type(error).__name__}: {error}", error)
    Path(trial.error_file).write_text(str(wrapped))
    Path(trial.pickled_error_file).write_bytes(ray.cloudpickle.dumps(wrapped))
    return trial


def test_an_error_of_cuda_is_told_by_its_first_line(tmp_path: Path) -> None:
    failure = Failure.of(failed(RuntimeError(CUDA), tmp_path))
    assert failure.reason == "RuntimeError: CUDA error: an illegal memory access was encountered"


def test_without_its_error_the_last_line_is_told(tmp_path: Path) -> None:
    trial = failed(RuntimeError("one line"), tmp_path)
    Path(trial.pickled_error_file).unlink()
    assert Failure.of(trial).reason == "RuntimeError: one line"


@pytest.mark.parametrize(
    "error", [UnusableGpuError("Tesla V100 (driver 570) cannot be used by torch"), ValueError("x")]
)
def test_a_gpu_that_cannot_be_used_ends_the_search_and_no_trial_is_to_blame(error: Exception, tmp_path: Path) -> None:
    given_up: list[str] = []
    budget = SimpleNamespace(give_up=given_up.append, failed=lambda: "")
    storage = SimpleNamespace(uri="")
    run: Any = SimpleNamespace(budget=budget, fitting=None, storage=storage)
    policy, failure = FailurePolicy(run), Failure.of(failed(error, tmp_path))
    unusable = isinstance(error, UnusableGpuError)
    assert policy.is_its_own("trial", failure) != unusable
    assert given_up == ([f"{error}; then resume"] if unusable else [])
