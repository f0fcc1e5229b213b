"""A worker's death is told in one line; where a host's memory runs out, there is a rest, and then fewer at a time."""

from __future__ import annotations

import logging

import pytest
from ray import cloudpickle
from ray.exceptions import OutOfMemoryError, RayActorError, RayError, RayTaskError, WorkerCrashedError

from orchestrator.cluster import deaths
from orchestrator.cluster.deaths import HostMemoryError, MemoryShortage, death

TABLE = """Top 10 memory users:
PID\tMEM(GB)\tCOMMAND
4711\t38.02\t/usr/lib/R/bin/exec/R --no-save
12\t9.10\tray::ImplicitFunc.train
7\t2.00\t/opt/python train.py
8\t1.00\tbash
Refer to the documentation on how to address the out of memory issue: https://docs.ray.io. Consider more memory.
"""
BEFORE_2_56 = f"""Task was killed due to the node running low on memory.
Memory on the node (IP: 10.0.0.2, ID: 8c5a) where the task (actor ID: 41, pid=5, memory used=2.22GB) was running was \
59.49GB / 62.58GB (0.950744), which exceeds the memory usage threshold of 0.95. Ray killed this worker. {TABLE}"""
SINCE = f"""1 worker(s) were killed due to the node running low on memory.
Memory on the node (IP: 10.0.0.2, ID: 8c5a) was 59.49GB used / 62.58GB limit (0.950744)
OOM kill reason: usage. {TABLE}"""
SAID = "memory of host 10.0.0.2 ran out: 59.49 of 62.58 GB used"
MOST = "; most by R (4711) 38.02 GB, ray::ImplicitFunc.train (12) 9.10 GB, python (7) 2.00 GB"


@pytest.mark.parametrize("message", [BEFORE_2_56, SINCE])
def test_who_used_the_memory_is_one_line(message: str) -> None:
    for error in (OutOfMemoryError(message), RayActorError(error_msg=message)):
        found = death(error)
        assert isinstance(found, HostMemoryError)
        assert str(found) == SAID + MOST
        kept = cloudpickle.loads(cloudpickle.dumps(found))
        assert (type(kept), str(kept)) == (HostMemoryError, SAID + MOST)


def test_without_a_table_the_figures_are_told() -> None:
    assert str(death(OutOfMemoryError(SINCE.partition("Top 10")[0]))) == SAID


def test_any_other_death_is_one_that_tune_knows() -> None:
    assert isinstance(death(WorkerCrashedError()), RayActorError)
    assert "\n" not in str(death(WorkerCrashedError()))
    for known in (RayActorError(error_msg="a\nb"), RayTaskError("step", "Traceback", ValueError("x"))):
        assert death(known) is known


def test_it_rests_and_then_has_fewer_at_a_time(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(deaths.time, "monotonic", lambda: now[0])
    shortage, error = MemoryShortage(), HostMemoryError(SAID)
    with caplog.at_level(logging.WARNING):
        assert shortage.heed(RayActorError(error_msg="its own"))
        assert not shortage.rest
        rests = []
        for _ in range(3):
            assert shortage.heed(error)
            assert not shortage.heed(error), "what dies in the same moment is told once"
            rests.append((shortage.rest, shortage.slots(2)))
            now[0] += shortage.rest
        now[0] += deaths.QUIET
        assert shortage.slots(2) == 2, "that was long ago"
    assert rests == [(30.0, 2), (60.0, 1), (120.0, 1)]
    assert [record.getMessage() for record in caplog.records] == [
        f"{SAID}; going on in 30 s",
        f"{SAID}; going on in 60 s, with 1 fewer at a time",
        f"{SAID}; going on in 2 min, with 2 fewer at a time",
    ]


def test_ray_raises_it_so() -> None:
    assert issubclass(OutOfMemoryError, RayError)
    assert not issubclass(OutOfMemoryError, RayActorError), "then `death` need not make it one"
