"""What the tracking store says today of an ensemble: whether it is the champion, how often its test was scored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from orchestrator import champions
from orchestrator.ensemble import registry
from orchestrator.store import TrackingError, first_line, open_store


@dataclass(frozen=True)
class Registered:
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


def registered(client: MlflowClient | str, ensemble: Mapping[str, Any]) -> Registered:
    """What a store says of an ensemble.

    Args:
        client: what `reached` gave. ensemble: of `ensemble.json`.
    """
    name, _, version = str(ensemble["model_uri"]).removeprefix("models:/").rpartition("/")
    if isinstance(client, str):
        return Registered(version, silence=client)
    try:
        found = client.get_model_version(name, version)
        if found.tags.get("digest") != ensemble["digest"]:
            return Registered(version, silence=f"version {version} of {name} in the store is another model")
        standing = champions.champion(client, ensemble["task"])
        times = registry.times_scored(client, ensemble["data"]["fingerprint"])
    except MlflowException as error:
        return Registered(version, silence=first_line(error))
    return Registered(version, str(standing.version) if standing else "", times)
