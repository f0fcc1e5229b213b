"""Runs of searches whose process died and that nobody resumed: they are not RUNNING."""

from __future__ import annotations

import logging
import socket
from pathlib import Path

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from orchestrator.storage.run_folder import NAMES
from orchestrator.tracking.client import quote
from trainables.locks import is_held

log = logging.getLogger(__name__)


def marks(lock: Path) -> dict[str, str]:
    """Tags by which a search's or an ensemble's run is known to be dead: the file that it holds, and on which host."""
    return {"folder": str(lock.parent), "lock": lock.name, "host": socket.gethostname()}


def close_stale(client: MlflowClient, experiment_id: str) -> int:
    """Set RUNNING runs of this host's dead searches and ensembles to KILLED; going on with them opens them again.

    They are dead when no process holds their lock, or when that is gone.

    Returns:
        Number of searches closed.
    """
    host = quote(socket.gethostname())
    try:
        held = client.search_runs([experiment_id], f"attributes.status = 'RUNNING' and tags.host = {host}")
        dead = [run for run in held if not is_held(_lock(run.data.tags))]
        for search in dead:
            trials = f"tags.`mlflow.parentRunId` = {quote(search.info.run_id)} and attributes.status = 'RUNNING'"
            for run in (*client.search_runs([experiment_id], trials), search):
                client.set_terminated(run.info.run_id, "KILLED")
    except (MlflowException, OSError) as error:
        log.info("runs of dead searches stay as they are: %s", error)  # tidying up is not worth failing for
        return 0
    return len(dead)


def _lock(tags: dict[str, str]) -> Path:
    name = tags.get("lock", NAMES.ledger.name)
    # Earlier versions locked the ledger itself, which nothing but its search may open to write.
    return Path(tags["folder"]) / (NAMES.lock.name if name == NAMES.ledger.name else name)
