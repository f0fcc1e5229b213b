"""Assembles ray.tune: trainable, searcher, scheduler, stopper, resources, callback."""

from __future__ import annotations

import contextlib
import math
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import AsyncHyperBandScheduler

from orchestrator.budget import Budget
from orchestrator.resources import Resources
from orchestrator.searcher import StudySearch
from trainables.trial import Shared, Trial

#: A trial whose worker dies goes on from its last checkpoint this many times.
MAX_FAILURES = 2
REDUCTION_FACTOR = 3
#: Workers import torch, OpenMP and OpenCV with one thread; a trial then takes as many as it has cores.
WORKER_ENVIRONMENT = {
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"), "1"),
    "NO_ALBUMENTATIONS_UPDATE": "1",
}


@contextlib.contextmanager
def ray_session() -> Iterator[None]:
    """Ray on this machine, or the cluster of RAY_ADDRESS; a Ray that this process already uses is left running."""
    if ray.is_initialized():
        yield
        return
    local = "RAY_ADDRESS" not in os.environ
    runtime_env: dict[str, Any] = {"env_vars": WORKER_ENVIRONMENT}
    if local and shlex.quote(sys.executable) != sys.executable:
        # Ray starts such workers through a shell and does not quote this: where the path has a space none would start.
        runtime_env["py_executable"] = shlex.quote(sys.executable)
    ray.init(
        address="local" if local else None,
        include_dashboard=False if local else None,
        log_to_driver=False,
        configure_logging=False,
        runtime_env=runtime_env,
    )
    try:
        yield
    finally:
        ray.shutdown()


def asha(epochs: int, metric: str) -> AsyncHyperBandScheduler:
    """ASHA on the best value so far: a third passes each rung, the first after a fifth of the epochs, at least 2.

    With a cosine to zero, values early in a trial say little about its end: earlier rungs stop good trials.
    """
    return AsyncHyperBandScheduler(
        time_attr="training_iteration",
        metric=metric,
        mode="max",
        max_t=epochs,
        grace_period=max(1, min(epochs, max(2, math.ceil(epochs / 5)))),
        reduction_factor=REDUCTION_FACTOR,
    )


def build_tuner(
    shared: Shared,
    *,
    searcher: StudySearch,
    scheduler: AsyncHyperBandScheduler | None,
    trials: int,
    resources: Resources,
    budget: Budget,
    folder: Path,
    callback: tune.Callback,
) -> tune.Tuner:
    """The Tuner of one search; its results and checkpoints go to `folder/tune`."""
    trainable: Any = tune.with_parameters(Trial, shared=shared)
    return tune.Tuner(
        tune.with_resources(trainable, {"cpu": resources.cpus, "gpu": resources.gpus}),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=scheduler,
            num_samples=trials,
            max_concurrent_trials=resources.slots,
            reuse_actors=True,
            trial_dirname_creator=_dirname,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(folder),
            callbacks=[callback],
            stop=budget,
            # The newest checkpoint holds the best weights too, so one is enough.
            checkpoint_config=tune.CheckpointConfig(num_to_keep=1),
            failure_config=tune.FailureConfig(max_failures=MAX_FAILURES),
            verbose=0,
        ),
    )


def _dirname(trial: Any) -> str:
    return trial.trial_id
