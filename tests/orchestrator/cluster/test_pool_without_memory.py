"""Workers of a pool while a host has no memory: calls wait, none is lost, and fewer run at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray.exceptions import OutOfMemoryError

from orchestrator.cluster import deaths, nodes, workers
from orchestrator.cluster.deaths import HostMemoryError
from orchestrator.cluster.resources import TrialResources
from orchestrator.cluster.workers import RETRIES, WorkerPool

MESSAGE = "1 worker(s) were killed.\nMemory on the node (IP: h, ID: 8) was 9.5GB used / 10.0GB limit (0.95)\nRefer to"


class Host:
    """Stands in for Ray: workers on a host whose memory is short so many times, when one starts or has a call."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, starts: int = 0, calls: int = 0) -> None:
        self.short = {"start": starts, "call": calls}
        self.there, self.most, self.now = 0, list[int](), 0.0
        monkeypatch.setattr(
            workers, "_WORKER", SimpleNamespace(options=lambda **more: SimpleNamespace(remote=self.hire))
        )
        monkeypatch.setattr(ray, "get", self.get)
        monkeypatch.setattr(ray, "kill", self.kill)
        monkeypatch.setattr(nodes, "first_of", lambda share: self.first_of)
        monkeypatch.setattr(deaths.time, "monotonic", lambda: self.now)

    def hire(self, gpus: float) -> Any:
        self.there += 1
        ready = SimpleNamespace(remote=lambda: ("start", object(), None))
        call = SimpleNamespace(remote=lambda plugins, function, *given: ("call", object(), function(*given)))
        return SimpleNamespace(ready=ready, call=call)

    def kill(self, worker: Any) -> None:
        self.there -= 1

    def get(self, task: tuple[str, object, Any]) -> Any:
        kind, _, value = task
        if self.short[kind]:
            self.short[kind] -= 1
            self.there -= 1
            raise OutOfMemoryError(MESSAGE)
        return value

    def first_of(self, tasks: Sequence[Any], over: Callable[[], bool]) -> Any:
        self.most.append(self.there)
        if tasks:
            return tasks[0]
        while not over():
            self.now += 1.0
        return None


def test_calls_wait_and_all_are_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(monkeypatch, starts=2, calls=3)
    with WorkerPool(TrialResources(3, 1, 0.0)) as pool:
        assert dict(pool.run({i: (lambda i: 2 * i, i) for i in range(9)})) == {i: 2 * i for i in range(9)}
        assert host.most[0] == 3
        assert host.most[-1] < 3
        assert host.now >= deaths.REST
    assert host.there == 0


def test_who_never_gets_memory_is_told_why(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(monkeypatch, starts=99)
    with WorkerPool(TrialResources(1, 1, 0.0)) as pool:
        found = dict(pool.run({i: (lambda i: i, i) for i in range(2)}))
    assert {str(error) for error in found.values()} == {"memory of host h ran out: 9.5 of 10.0 GB used"}
    assert all(isinstance(error, HostMemoryError) for error in found.values())
    assert host.short["start"] == 99 - RETRIES - 1
