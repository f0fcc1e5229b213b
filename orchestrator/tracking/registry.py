"""The registered model of each task, and which of its versions is the champion."""

from __future__ import annotations

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

#: The alias of the version that a user gets by default.
CHAMPION = "champion"
#: How our description of a registered model begins.
OURS = "Breast ultrasound, task"


def model_name(task: str) -> str:
    """The registered model of a task."""
    return f"breast-ultrasound-{task}"


def describe(client: MlflowClient, task: str) -> None:
    """Have the registered model say which version is the champion, what that may be called, and how to use it.

    What a person wrote there stays.

    Raises:
        MlflowException: the store does not take it.
    """
    before = client.get_registered_model(model_name(task)).description or ""
    if before and not before.startswith(OURS):
        return
    standing = champion(client, task)
    words = "No version is the champion: none has cleared the floor of its verdict yet."
    if standing:
        verdict = standing.tags.get("because") or "no verdict was written"
        words = f"The champion is version {standing.version}: {verdict}."
    use = f"`python -m orchestrator.predict --task {task} --out predictions IMAGE`"
    client.update_registered_model(model_name(task), f"{OURS} {task}. {words}\n\nUse the champion: {use}")


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
