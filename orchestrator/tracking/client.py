"""The MLflow tracking store: its address, opening it quietly, and errors that a person can act on."""

from __future__ import annotations

import os
import shlex

# MLflow reads these when it is imported. Its telemetry is off; our writer does the retrying, in view of the user.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["DO_NOT_TRACK"] = "true"
os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")

import logging
from contextlib import nullcontext
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Experiment
from mlflow.exceptions import MlflowException

from orchestrator.common.errors import first_line
from orchestrator.config.types import OTHER_STORE, SQLITE, TrackingError, shown_uri
from orchestrator.tracking.artifacts import FOLDER, check_writable, mend
from orchestrator.tracking.sqlite import check_sqlite
from trainables import locks

for _name, _level in {"alembic": "ERROR", "mlflow": "ERROR", "mlflow.store.db.utils": "CRITICAL"}.items():
    logging.getLogger(_name).setLevel(_level)  # a locked database would otherwise print a traceback at each attempt


def quote(value: str) -> str:
    """A value as it stands in an MLflow filter string.

    Raises:
        ValueError: the value holds both kinds of quotes, which MLflow's filters cannot express.
    """
    if "'" not in value:
        return f"'{value}'"
    if '"' in value:
        raise ValueError(f"both kinds of quotes in {value}")
    return f'"{value}"'


def open_store(uri: str, create: bool) -> MlflowClient:
    """A client whose store has answered once.

    Args:
        uri: as `tracking_uri` gives it.
        create: make a missing SQLite database (about 3 s), and `artifacts.mend` one that was moved; without it, looking
            at a store changes nothing on disk.

    Raises:
        TrackingError: no store there, not a store, not writable, or no answer.
    """
    path = check_sqlite(uri, create)
    try:
        # Two searches started together must not both create the database.
        with locks.held(path.with_name(f".{path.name}.lock")) if path and create else nullcontext():
            client = MlflowClient(tracking_uri=uri)
            client.search_experiments(max_results=1)
            if path and create:
                mend(uri)
    except Exception as error:  # whatever a driver or a server may raise
        raise TrackingError(
            f"no MLflow store answers at {shown_uri(uri)} ({first_line(error)}); {OTHER_STORE}"
        ) from error
    return client


#: Opens the UI on its pages for training runs, not on those for language models.
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}


def ensure_experiment(client: MlflowClient, uri: str, name: str, artifact_root: str | None) -> str:
    """The id of the experiment, created if absent: pictures go to `artifact_root`, by default beside the database.

    Raises:
        TrackingError: the experiment was deleted, or cannot be created, or its artifacts cannot be written.
    """
    if artifact_root is None and not uri.startswith("http"):
        folder = Path(uri.removeprefix(SQLITE)).parent if uri.startswith(SQLITE) else Path.cwd()
        artifact_root = str(folder / FOLDER)
    if artifact_root and "://" not in artifact_root:
        artifact_root = Path(artifact_root).resolve().as_uri()
    try:
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            try:
                client.create_experiment(name, artifact_location=artifact_root, tags=EXPERIMENT_TAGS)
            except MlflowException as error:  # another search was first
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            experiment = client.get_experiment_by_name(name)
    except MlflowException as error:
        raise TrackingError(f"experiment {name} in {shown_uri(uri)}: {first_line(error)}") from error
    assert experiment
    if experiment.lifecycle_stage == "deleted":
        raise TrackingError(_deleted(experiment, uri))
    check_writable(uri, experiment)
    return str(experiment.experiment_id)


def _deleted(experiment: Experiment, uri: str) -> str:
    """What to do about a deleted experiment, with commands that work as they are."""
    store, number = shlex.quote(shown_uri(uri)), experiment.experiment_id
    restore = f"MLFLOW_TRACKING_URI={store} python -m mlflow experiments restore --experiment-id {number}"
    gone = f"python -m mlflow gc --backend-store-uri {store} --tracking-uri {store} --experiment-ids {number}"
    # Only who has the database of a server can delete for good.
    gone = "" if uri.startswith("http") else f"; or delete it for good: {gone}"
    return (
        f"experiment {experiment.name} in {shown_uri(uri)} was deleted; choose another with --experiment, or bring it "
        f"back: {restore}{gone}"
    )
