"""The registered model of each task, and which of its versions is the champion."""

from __future__ import annotations

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

#: The alias of the version that a user gets by default.
CHAMPION = "champion"


def model_name(task: str) -> str:
    """The registered model of a task."""
    return f"breast-ultrasound-{task}"


def champion(client: MlflowClient, task: str) -> ModelVersion | None:
    """The standing champion, if there is one.

    Raises:
        MlflowException: the store cannot say.
    """
    try:
        return client.get_model_version_by_alias(model_name(task), CHAMPION)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):  # no model; no such alias
            raise
        return None
