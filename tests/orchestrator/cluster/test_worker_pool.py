"""Workers: a GPU and a process for good, what raises is told, what dies is tried again, and none is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from orchestrator.cluster.resources import TrialResources
from orchestrator.cluster.workers import RETRIES, WorkerPool

ROOT = Path(__file__).resolve().parents[3]
TWO_GPUS = """
import os, time
import ray
from orchestrator.cluster.resources import TrialResources
from orchestrator.cluster.workers import WorkerPool

def work(i):
    # CUDA reads this once a process.
    now = os.environ["CUDA_VISIBLE_DEVICES"]
    first = os.environ.setdefault("FIRST_SEEN", now)
    time.sleep(0.05 * (i % 3))
    return os.getpid(), first, now

ray.init(num_cpus=4, num_gpus=2, include_dashboard=False, log_to_driver=False)
said = []
with WorkerPool(TrialResources(2, 1, 1.0)) as pool:
    for _ in range(3):
        said += [found for _, found in pool.run({i: (work, i) for i in range(6)})]
pids = {pid for pid, _, _ in said}
while any(os.path.exists(f"/proc/{pid}") and "Z" not in open(f"/proc/{pid}/stat").read().split()[2] for pid in pids):
    time.sleep(0.05)
print(len(said), len(pids), sum(first != now for _, first, now in said), len({now for *_, now in said}))
"""


def _double(number: int) -> int:
    return 2 * number


def _raise(_: int) -> None:
    raise ValueError("first line\nsecond line")


def _die_once(mark: Path) -> str:
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "second time"


def _die(log: Path) -> None:
    with log.open("a") as file:
        file.write("died\n")
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_each_process_keeps_its_gpu_and_none_is_left() -> None:
    command = [sys.executable, "-c", TWO_GPUS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.split() == ["18", "2", "0", "2"], done.stderr[-2000:]


@pytest.mark.slow
@pytest.mark.usefixtures("ray_local")
def test_what_a_call_returns_raises_or_dies_of(tmp_path: Path) -> None:
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import this file
    try:
        with WorkerPool(TrialResources(2, 1, 0.0)) as pool:
            found = dict(pool.run({i: (_double, i) for i in range(5)}))
            assert found == {i: 2 * i for i in range(5)}
            calls = {"wrong": (_raise, 1), "killed": (_die_once, tmp_path / "mark"), "right": (_double, 3)}
            found = dict(pool.run(calls))
            assert isinstance(found["wrong"], ValueError)
            assert (found["killed"], found["right"]) == ("second time", 6)
            (found,) = pool.run({"": (_die, tmp_path / "log")})
            assert "died" in str(found[1])
            assert Counter((tmp_path / "log").read_text().split()) == {"died": RETRIES + 1}
            for _ in pool.run({i: (_double, i) for i in range(3)}):
                break  # whoever asked leaves
            assert dict(pool.run({1: (_double, 1)})) == {1: 2}
    finally:
        cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
