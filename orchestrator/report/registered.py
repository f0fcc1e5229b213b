"""What the tracking store says today of an ensemble: whether it is the champion, how often its test was scored."""

from __future__ import annotations

from dataclasses import dataclass

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from orchestrator.common.errors import first_line
from orchestrator.config.types import TrackingError
from orchestrator.ensemble import promotion
from orchestrator.ensemble.result import EnsembleResult
from orchestrator.tracking.client import open_store
from orchestrator.tracking.registry import champion


@dataclass(frozen=True)
class RegistryStatus:
    """An ensemble in the registry.

    Attributes:
        version: the version that it was registered as. champion: the standing champion's; "" if there is none.
        times_scored: winners that were scored on the test images of these data, over all ensembles of the store.
        silence: why the store says nothing; `champion` and `times_scored` are then not known.
    """

    version: str
    champion: str = ""
    times_scored: int | None = None
    silence: str = ""

    @property
    def state(self) -> str:
        """Whether it is the champion, in words."""
        if self.silence:
            return "not known"
        if self.champion == self.version:
            return "the champion"
        return f"not the champion; that is version {self.champion}" if self.champion else "no champion stands"


def reached(uri: str) -> MlflowClient | str:
    """A client of the store at `uri`, or why it does not answer; looking changes nothing there."""
    try:
        return open_store(uri, create=False)
    except TrackingError as error:
        return first_line(error)


def registered(client: MlflowClient | str, ensemble: EnsembleResult) -> RegistryStatus:
    """What a store says of an ensemble.

    Args:
        client: what `reached` gave. ensemble: of `ensemble.json`.
    """
    name, _, version = ensemble.model_uri.removeprefix("models:/").rpartition("/")
    if isinstance(client, str):
        return RegistryStatus(version, silence=client)
    try:
        found = client.get_model_version(name, version)
        if found.tags.get("digest") != ensemble.digest:
            return RegistryStatus(version, silence=f"version {version} of {name} in the store is another model")
        standing = champion(client, ensemble.task)
        times = promotion.times_scored(client, ensemble.data.fingerprint)
    except MlflowException as error:
        return RegistryStatus(version, silence=first_line(error))
    return RegistryStatus(version, str(standing.version) if standing else "", times)
