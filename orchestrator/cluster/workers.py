"""Processes that call functions for the driver: one a slot, with cores and GPUs of its own, ended at the end.

Ray's tasks would share processes: CUDA keeps the GPU that it began with, whatever GPU the next task is given, and holds
memory of it while the process is idle.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any, Self, TypeVar

import ray

from orchestrator.cluster import nodes
from orchestrator.cluster.deaths import MemoryShortage, death
from orchestrator.cluster.resources import TrialResources
from trainables.plugins import Plugin, install, loaded

Key = TypeVar("Key", bound=Hashable)
#: A call whose worker or host dies is tried again so often.
RETRIES = 5


#: A function that can be pickled by its name, and what it is called with; of Ray's references, what they refer to.
Call = tuple[Any, ...]


class _Worker:
    def __init__(self, gpus: float) -> None:
        if gpus:
            from trainables import devices  # torch takes seconds: where no GPU is used, the calls import it

            devices.limit_memory(gpus)
        self._gpus = gpus

    def ready(self) -> None:
        """Answers once the process is there."""

    def call(self, plugins: tuple[Plugin, ...], function: Callable[..., Any], *arguments: Any) -> Any:
        install(plugins)
        try:
            return function(*arguments)
        finally:
            if self._gpus:
                from trainables import memory

                memory.release()


# Under a name of its own: where a decorator takes a class's name, Ray pickles its code with all that it mentions, which
# torch does not survive, instead of where to find it.
_WORKER = ray.remote(_Worker)


class WorkerPool:
    """Calls functions in its workers, which have the driver's plugins; a context that ends them.

    Args:
        share: slots, and the cores and GPUs of each worker.
    """

    def __init__(self, share: TrialResources) -> None:
        self._share, self._first_of = share, nodes.first_of(share)
        self._coming: dict[Any, Any] = {}
        self._idle: list[Any] = []
        self._busy: dict[Any, tuple[Any, Any]] = {}
        self._shortage = MemoryShortage()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for worker in (*self._coming.values(), *self._idle):
            ray.kill(worker)
        self._coming, self._idle = {}, []

    def run(self, calls: Mapping[Key, Call], over: Callable[[], bool] = lambda: False) -> Iterator[tuple[Key, Any]]:
        """The calls as they end: what each returns, or the exception that it raised or that its worker died of.

        Args:
            over: asked every few seconds; when it says so, calls that run are given up, and the rest does not begin.
        """
        waiting, deaths = deque(calls), Counter[Key | None]()
        try:
            while waiting or self._busy:
                if not (resting := self._shortage.rest):
                    while waiting and self._idle:
                        key, worker = waiting.popleft(), self._idle.pop()
                        self._busy[worker.call.remote(loaded(), *calls[key])] = key, worker
                    self._hire(len(waiting) + len(self._busy))
                task = self._first_of(
                    [*self._busy, *self._coming], lambda: over() or (resting > 0 and not self._shortage.rest)
                )
                if task is None and over():
                    return
                if task is None:
                    continue
                own, worker = self._busy.pop(task, None) or (None, self._coming.pop(task))
                try:
                    found = ray.get(task)
                except ray.exceptions.RayTaskError as error:
                    found = _cause(error)
                    if self._share.gpus:  # an error of CUDA stays with its process
                        ray.kill(worker)
                        worker = None
                except ray.exceptions.RayError as error:
                    found, worker = death(error), None
                    deaths[own] += self._shortage.heed(found)
                    if deaths[own] <= RETRIES or (own is None and self._busy):
                        waiting.extendleft([own] if own is not None else [])
                        continue
                    if own is None:  # none can even begin
                        yield from ((key, found) for key in waiting)
                        return
                if worker is not None:
                    self._keep(worker)
                if own is not None:
                    yield own, found
                else:
                    deaths[None] = 0
        finally:
            for _, worker in self._busy.values():  # whoever asked has left
                ray.kill(worker)
            self._busy = {}

    def _keep(self, worker: Any) -> None:
        """Have a worker wait for its next call, or end it, where there are to be fewer by now."""
        if self._there < self._shortage.slots(self._share.slots):
            self._idle.append(worker)
        else:
            ray.kill(worker)

    @property
    def _there(self) -> int:
        return len(self._coming) + len(self._busy) + len(self._idle)

    def _hire(self, calls: int) -> None:
        """Begin workers for so many calls, as far as there are slots."""
        for _ in range(self._there, min(calls, self._shortage.slots(self._share.slots))):
            worker: Any = _WORKER.options(num_cpus=self._share.cpus, num_gpus=self._share.gpus).remote(self._share.gpus)
            self._coming[worker.ready.remote()] = worker


def _cause(error: Exception) -> BaseException:
    """What a call raised, or what became of its worker."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, BaseException) else error
