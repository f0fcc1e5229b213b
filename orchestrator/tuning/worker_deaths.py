"""Tune ends a whole search where a worker dies of what it does not know: here it is told what it knows."""

from __future__ import annotations

from typing import Any

from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import RayError
from ray.tune.execution.tune_controller import TuneController

from orchestrator.cluster.deaths import HostMemoryError, death

_manager: Any = RayActorManager
_controller: Any = TuneController
_task_failed, _trial_failed = _manager._actor_task_failed, _controller._process_trial_failure


def outlive_deaths() -> None:
    """From now on, in this process, a worker that dies fails its trial alone, whatever Ray calls it."""
    _manager._actor_task_failed, _controller._process_trial_failure = _one_task_failed, _one_trial_failed


def _one_task_failed(manager: Any, tracked_actor_task: Any, exception: Exception) -> None:
    found = death(exception) if isinstance(exception, RayError) else exception
    _task_failed(manager, tracked_actor_task, found)


def _one_trial_failed(controller: Any, trial: Any, exception: Any) -> None:
    found = death(exception) if isinstance(exception, RayError) else exception
    if isinstance(found, HostMemoryError):
        # Tune would start it again at once; the searcher does so after a rest, when a slot is free.
        trial.max_failures = 0
    _trial_failed(controller, trial, found)
