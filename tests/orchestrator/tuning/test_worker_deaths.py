"""Tune outlives whatever a worker dies of; for want of memory its trial waits, and is not to blame."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import ray
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import OutOfMemoryError, RayActorError, WorkerCrashedError
from ray.tune.execution.tune_controller import TuneController

from orchestrator.cluster.deaths import HostMemoryError
from orchestrator.tuning.failures import DEATHS, Failure, FailurePolicy
from orchestrator.tuning.identity import Identity
from orchestrator.tuning.ledger import Ledger
from orchestrator.tuning.worker_deaths import outlive_deaths
from tests.support.search_runs import search_run
from tests.support.working_copies import CONFIG

MESSAGE = """1 worker(s) were killed due to the node running low on memory.
Memory on the node (IP: 10.0.0.2, ID: 8c5a) was 59.49GB used / 62.58GB limit (0.950744)
Refer to the documentation on how to address the out of memory issue: https://docs.ray.io."""


@pytest.fixture(autouse=True)
def _outlived(monkeypatch: pytest.MonkeyPatch) -> None:
    for place, name in ((RayActorManager, "_actor_task_failed"), (TuneController, "_process_trial_failure")):
        monkeypatch.setattr(place, name, getattr(place, name))
    outlive_deaths()


@pytest.mark.parametrize("error", [OutOfMemoryError(MESSAGE), WorkerCrashedError()])
def test_a_step_whose_worker_dies_does_not_end_the_search(error: Exception) -> None:
    told: list[Exception] = []
    actor = SimpleNamespace(actor_id=1, _on_error=None)
    task = SimpleNamespace(_tracked_actor=actor, _on_error=lambda actor, error: told.append(error))
    manager: Any = SimpleNamespace(_failed_actor_ids=set(), _cleanup_actor=lambda tracked_actor: None)
    RayActorManager._actor_task_failed(manager, tracked_actor_task=cast(Any, task), exception=error)
    assert [type(one) for one in told] == [HostMemoryError if isinstance(error, OutOfMemoryError) else RayActorError]


def test_tune_leaves_a_trial_without_memory_to_the_searcher(tmp_path: Path) -> None:
    """Also one whose worker never came up, of which Tune keeps no error but what it knows."""
    trial = ray.tune.experiment.Trial("unregistered", stub=True, max_failures=2, trial_id="a")
    trial.storage = cast(Any, SimpleNamespace(trial_driver_staging_path=str(tmp_path)))
    trial.status = trial.RUNNING
    calls: list[str] = []

    def seen(name: str) -> Any:
        return lambda *args, **more: calls.append(name)

    controller: Any = SimpleNamespace(
        _scheduler_alg=SimpleNamespace(on_trial_error=seen("scheduler")),
        _search_alg=SimpleNamespace(on_trial_complete=seen("searcher")),
        _callbacks=SimpleNamespace(on_trial_error=seen("failed"), on_trial_recover=seen("recovered"), iteration=0),
        _schedule_trial_stop=seen("stopped"),
        _try_recover=seen("tried again"),
        _iteration=0,
        _trials=[],
    )
    TuneController._process_trial_failure(controller, trial, cast(Any, OutOfMemoryError(MESSAGE)))
    assert calls == ["scheduler", "searcher", "stopped", "failed"]
    assert Failure.of(trial).host_died


def test_a_trial_is_to_blame_when_it_never_has_an_epoch(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ledger = Ledger(tmp_path)
    ledger.launch(Identity(id="x"), 0)
    ledger.add("asked", "a", number=1, study_number=0, config=CONFIG)
    run = search_run(ledger)
    policy, failure = FailurePolicy(run), Failure("x", HostMemoryError("memory of host x ran out"), never_ran=False)
    assert [policy.is_its_own("a", failure) for _ in range(DEATHS + 1)] == [False] * DEATHS + [True]
    assert run.shortage.rest > 0
    assert caplog.messages == ["memory of host x ran out; going on in 30 s"]
