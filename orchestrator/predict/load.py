"""A model from the registry or from an exported folder, ready to predict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.config.plugins import load_plugins
from trainables import stored
from trainables.data.patience import openable
from trainables.stored import DamagedError

if TYPE_CHECKING:
    from orchestrator.inference.predictor import Predictor


@dataclass(frozen=True)
class _Verdict:
    line: str


@dataclass(frozen=True)
class _Results:
    """What is needed here of `orchestrator.ensemble.result.OwnResults`."""

    verdict: _Verdict | None = None


class Versioned(NamedTuple):
    """A model, its version in the registry ("" for a folder), and its verdict in a line ("" where none was written)."""

    predictor: Predictor
    version: str
    verdict: str


def load_predictor(
    model: str | Path,
    tracking_uri: str | None = None,
    device: str = "auto",
    *,
    plugin: Path | str | Sequence[Path | str] = (),
) -> Predictor:
    """The model at an address.

    Args:
        model: registry URI (`models:/NAME@ALIAS`, `models:/NAME/VERSION`), or a folder: an exported
            model, for which no MLflow store is needed nor looked at.
        tracking_uri: MLflow store, for a registry URI [MLFLOW_TRACKING_URI, else mlflow.db here].
        device: auto, cpu, cuda or mps; see `trainables.devices.find`.
        plugin: files of plugins that the model was made with.

    Raises:
        UserError: no model there, a damaged one, one that needs a plugin, or no such device.
    """
    load_plugins(*([plugin] if isinstance(plugin, Path | str) else plugin))
    return load_versioned(model, tracking_uri, device).predictor


def load_versioned(model: str | Path, tracking_uri: str | None = None, device: str = "auto") -> Versioned:
    """As `load_predictor`, with what an alias stood for.

    Raises:
        UserError: no model there, a damaged one, or no such device.
    """
    # Late: torch takes seconds that --help and a wrong flag need not wait for.
    from orchestrator.inference.format import RESULTS, locate
    from orchestrator.inference.predictor import Predictor
    from orchestrator.tracking.download import downloaded

    with downloaded(str(model), tracking_uri) as (folder, version):
        place = locate(folder, str(model))
        return Versioned(Predictor.load(place, device), version, _verdict(place / RESULTS))


def _verdict(file: Path) -> str:
    """What a model may be called, of its own results; "" where an older version wrote them."""
    from orchestrator.inference.format import damaged

    try:
        found = stored.read(openable(file), _Results).verdict
        return found.line if found else ""
    except FileNotFoundError:
        return ""
    except (OSError, DamagedError) as error:
        raise damaged(str(error)) from None
