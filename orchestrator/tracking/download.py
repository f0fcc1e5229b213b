"""A model's folder at an address: a registry URI of an MLflow store, or a folder."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from orchestrator.common.errors import UserError, first_line
from orchestrator.config import types

_ADDRESS = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d+))")


class Downloaded(NamedTuple):
    """A model's folder, and its version in the registry; "" for a folder that was given."""

    folder: Path
    version: str


@contextmanager
def downloaded(model: str, tracking_uri: str | None = None) -> Iterator[Downloaded]:
    """The folder of a model, in which `orchestrator.inference.format.locate` looks; it is there until the block ends.

    Args:
        model: `models:/NAME@ALIAS` or `models:/NAME/VERSION`; else a folder: an exported MLflow model, or what
            `orchestrator.inference.export.write` wrote. For a folder no MLflow store is looked at.
        tracking_uri: of the store that has the registry; see `orchestrator.config.types.tracking_uri`.

    Raises:
        UserError: no such model, or no store.
    """
    if not model.startswith("models:"):
        yield Downloaded(Path(model).expanduser(), "")
        return
    with tempfile.TemporaryDirectory(prefix="model-") as scratch:
        yield _download(model, tracking_uri, scratch)


def _download(model: str, tracking_uri: str | None, scratch: str) -> Downloaded:
    parts = _ADDRESS.fullmatch(model)
    if parts is None:
        raise UserError(f"{model} is no address of a model; write models:/NAME@ALIAS or models:/NAME/VERSION")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    # Late: an exported model needs neither MLflow nor its store.
    from mlflow.artifacts import download_artifacts

    from orchestrator.tracking.artifacts import present
    from orchestrator.tracking.client import open_store

    uri = types.tracking_uri(tracking_uri)
    client = open_store(uri, create=False)
    name, alias, version = parts.group("name", "alias", "version")
    try:
        # By our own client: download_artifacts looks models:/ up in the process's store, whatever URI it is given.
        found = client.get_model_version_by_alias(name, alias) if alias else client.get_model_version(name, version)
        source = client.get_model_version_download_uri(name, found.version)
        if source.startswith("runs:/"):
            run, _, path = source.removeprefix("runs:/").partition("/")
            place = client.get_run(run).info.artifact_uri
            moved = present(place, uri)
            if moved == place:
                folder = client.download_artifacts(run, path, scratch)
            else:
                folder = download_artifacts(artifact_uri=f"{moved}/{path}", dst_path=scratch)
        else:
            folder = download_artifacts(artifact_uri=source, dst_path=scratch, tracking_uri=uri)
        return Downloaded(Path(folder), str(found.version))
    except Exception as error:  # whatever a driver or a server may raise
        reason = f"{types.shown_uri(uri)} ({first_line(error)})"
        advice = "make one with python -m orchestrator.ensemble, or give an exported folder: --model"
        raise UserError(f"no model {model} in {reason}; {advice}") from None
