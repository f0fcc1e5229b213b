"""A model from the registry or from an exported folder, ready to predict."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from orchestrator.inference.predictor import Predictor


class Versioned(NamedTuple):
    """A model, and its version in the registry; "" for a folder."""

    predictor: Predictor
    version: str


def load_predictor(model: str | Path, tracking_uri: str | None = None) -> Predictor:
    """The model at an address.

    Args:
        model: registry URI (`models:/NAME@ALIAS`, `models:/NAME/VERSION`), or a folder: an exported
            model, for which no MLflow store is needed nor looked at.
        tracking_uri: MLflow store, for a registry URI [MLFLOW_TRACKING_URI, else mlflow.db here].

    Raises:
        UserError: no model there, or a damaged one.
    """
    return load_versioned(model, tracking_uri).predictor


def load_versioned(model: str | Path, tracking_uri: str | None = None) -> Versioned:
    """As `load_predictor`, with what an alias stood for.

    Raises:
        UserError: no model there, or a damaged one.
    """
    # Late: torch takes seconds that --help and a wrong flag need not wait for.
    from orchestrator.inference.format import locate
    from orchestrator.inference.predictor import Predictor
    from orchestrator.tracking.download import downloaded

    with downloaded(str(model), tracking_uri) as (folder, version):
        return Versioned(Predictor.load(locate(folder, str(model))), version)
