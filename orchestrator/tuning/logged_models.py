"""The best trials of a search as MLflow's logged models: each predicts by itself, with its metrics and data."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Sequence
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelOutput, LoggedModelStatus, Metric, Run
from mlflow.models import Model
from mlflow.models.model import MLMODEL_FILE_NAME

from orchestrator.common.errors import first_line
from orchestrator.inference import mlflow_model
from orchestrator.inference.combination import Combination, Head
from orchestrator.inference.export import MemberCheckpoints, Sources, write
from orchestrator.tracking.client import open_store, quote
from orchestrator.tuning.search_run import SearchRun
from orchestrator.tuning.summary import TrialSummary, best_first
from trainables import checkpoint_description, unfinished

log = logging.getLogger(__name__)

#: Weights are large: only these many trials of a search.
COUNT = 3
#: Tag: the epoch that its weights are of.
EPOCH = "epoch"
#: What MLflow does not allow in a model's name, and control characters.
_FORBIDDEN = re.compile(r"[/:.%\"'\x00-\x1f]")


def log_best(run: SearchRun, trials: Sequence[TrialSummary]) -> int:
    """Log the best trials whose runs MLflow holds; those that are logged already are left alone.

    As with pictures, what fails is told and left out.

    Returns:
        How many were logged.
    """
    done, storage = 0, run.storage
    try:
        storage.await_answer()
        best = [(row, folder) for row, folder in best_first(trials, storage) if row.mlflow_run_id][:COUNT]
    except OSError as error:
        log.warning("no trial is among MLflow's models: %s", first_line(error))
        return 0
    client = open_store(run.settings.tracking_uri, create=False) if best else None
    for row, folder in reversed(best):  # the newest stands first in the UI
        try:
            assert client
            storage.fetch(folder)
            # In the search's own folder, so that weights can be linked.
            with unfinished.beside(run.settings.folder / "model") as scratch:
                done += _log(client, run, row, folder, scratch)
        except Exception as error:
            log.warning("trial %s is not among MLflow's models: %s", row.name, first_line(error))
    return done


def _log(client: MlflowClient, search: SearchRun, row: TrialSummary, source: Path, scratch: Path) -> bool:
    described = checkpoint_description.read(source)
    task, epoch, run = described.task, described.best.epoch, client.get_run(row.mlflow_run_id)
    if _is_there(client, run, epoch):
        return False
    # As it was validated: no mirror images, nothing calibrated.
    head = Head(temperatures=(1.0,), weights=(1.0,))
    combination = Combination("single", None if task == "seg" else head, None if task == "cls" else head)
    sources = Sources(combination, [MemberCheckpoints(0, row.name, [source])], described.image_size)
    write(
        scratch / "ensemble",
        sources,
        keep_aspect=search.data.keep_aspect,
        synthetic=search.data.synthetic,
        encoder_weights=[row.weights_source],
    )
    mlflow_model.save(scratch / "model", scratch / "ensemble")
    tags = {name: run.data.tags[name] for name in _TAGS if name in run.data.tags} | {EPOCH: str(epoch)}
    name = _FORBIDDEN.sub("-", f"{run.data.tags.get('search', '')} {row.name}".strip())
    model = client.create_logged_model(
        run.info.experiment_id,
        name=name[:250],
        source_run_id=run.info.run_id,
        tags=tags,
        params=dict(run.data.params),
        model_type=task,
    )
    try:
        _bind(scratch / "model", model, run)
        client.log_model_artifacts(model.model_id, str(scratch / "model"))
        client.log_batch(run.info.run_id, _metrics(client, run, model, epoch))
        client.log_outputs(run.info.run_id, [LoggedModelOutput(model.model_id, step=epoch)])
        client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    except BaseException:
        with contextlib.suppress(Exception):
            client.delete_logged_model(model.model_id)
        raise
    return True


#: Tags of the run that the model has, too.
_TAGS = ("task", "classes", "primary", "search", "trial_id", "data_fingerprint", "data_source", "synthetic")


def _is_there(client: MlflowClient, run: Run, epoch: int) -> bool:
    """Whether the run's model of this epoch is logged; one that a crash cut off is deleted."""
    found = False
    mine = f"source_run_id = {quote(run.info.run_id)}"
    for model in client.search_logged_models([run.info.experiment_id], filter_string=mine):
        if model.status != LoggedModelStatus.READY:
            client.delete_logged_model(model.model_id)
        elif model.tags.get(EPOCH) == str(epoch):
            found = True
    return found


def _bind(folder: Path, model: LoggedModel, run: Run) -> None:
    """Have the saved model know what it is in MLflow."""
    saved = Model.load(folder)
    saved.model_id, saved.run_id, saved.artifact_path = model.model_id, run.info.run_id, model.artifact_location
    saved.save(folder / MLMODEL_FILE_NAME)


def _metrics(client: MlflowClient, run: Run, model: LoggedModel, epoch: int) -> list[Metric]:
    """The run's figures of the epoch that the weights are of, and those at original size.

    They are the run's own points, so that MLflow stores them with the model and not twice with the run.
    """
    inputs = run.inputs.dataset_inputs if run.inputs else []
    used = inputs[0].dataset if inputs else None
    about = {"model_id": model.model_id, "run_id": run.info.run_id}
    about |= {"dataset_name": used.name, "dataset_digest": used.digest} if used else {}
    found = []
    for name in run.data.metrics:
        if name.startswith(("val/", "best/", "original_size/")):
            history = client.get_metric_history(run.info.run_id, name)
            last = max(point.step for point in history)
            step = last if name.startswith("original_size/") else epoch
            found += [
                Metric(name, point.value, point.timestamp, step, **about) for point in history if point.step == step
            ]
    return found
