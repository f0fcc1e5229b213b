"""Assembles ray.tune: trainable, searcher, scheduler, stopper, resources, callback."""

from __future__ import annotations

import os
from typing import Any

from ray import tune

from orchestrator.tuning.scheduler import Asha
from orchestrator.tuning.search_run import SearchRun
from orchestrator.tuning.searcher import StudySearch
from orchestrator.tuning.worker_deaths import outlive_deaths

#: A trial that raises, or whose worker dies, goes on from its last checkpoint this many times.
MAX_FAILURES = 2


def build_tuner(
    run: SearchRun, trainable: Any, searcher: StudySearch, scheduler: Asha, callback: tune.Callback
) -> tune.Tuner:
    """The Tuner of one launch of a search; its checkpoints go to a folder of its own, so none is overwritten."""
    outlive_deaths()
    # Else Tune starts one worker after the other, and a trial that ends first hands its worker on: one slot for ever.
    # The searcher keeps to the slots, whose number grows with the cluster.
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(max(run.share.slots, run.plan.trials))
    return tune.Tuner(
        tune.with_resources(trainable, {"cpu": run.share.cpus, "gpu": run.share.gpus}),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=scheduler,
            reuse_actors=True,
            trial_dirname_creator=_dirname,
        ),
        run_config=tune.RunConfig(
            name=str(run.ledger.launches),
            storage_path=run.storage.where(run.settings.files.tune),
            storage_filesystem=run.storage.filesystem,
            callbacks=[callback],
            stop=run.budget,
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=True),
            failure_config=tune.FailureConfig(max_failures=MAX_FAILURES),
            verbose=0,
        ),
    )


def _dirname(trial: Any) -> str:
    return str(trial.trial_id)
