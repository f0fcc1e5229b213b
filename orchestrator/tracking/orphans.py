"""Runs of searches whose process died and that nobody resumed: they are not RUNNING."""

from __future__ import annotations

import logging
import socket
from contextlib import suppress
from pathlib import Path

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from orchestrator.storage.run_folder import NAMES
from orchestrator.tracking.client import quote
from trainables.locks import is_held
from trainables.processes import identity, lives

log = logging.getLogger(__name__)


def marks(lock: Path) -> dict[str, str]:
    """Tags by which a search's or an ensemble's run is known to be dead: its process, and the file that this holds."""
    found = {"folder": str(lock.parent), "lock": lock.name, "host": socket.gethostname(), "process": identity()}
    with suppress(OSError):
        found["inode"] = str(lock.stat().st_ino)
    return found


def close_stale(client: MlflowClient, experiment_id: str) -> int:
    """Set RUNNING runs of this host's dead searches and ensembles to KILLED; going on with them opens them again.

    They are dead when no process holds their lock, or when that is gone and so is their process. What cannot be told
    from here, as of another container, is left alone; so are runs of others, whatever they are tagged.

    Returns:
        Number of searches closed.
    """
    closed = 0
    try:
        running = f"attributes.status = 'RUNNING' and tags.host = {quote(socket.gethostname())}"
        for search in client.search_runs([experiment_id], running):
            if _is_dead(search.data.tags):
                trials = f"tags.`mlflow.parentRunId` = {quote(search.info.run_id)} and attributes.status = 'RUNNING'"
                for run in (*client.search_runs([experiment_id], trials), search):
                    client.set_terminated(run.info.run_id, "KILLED")
                closed += 1
    except (MlflowException, OSError) as error:
        log.info("runs of dead searches stay as they are: %s", error)  # tidying up is not worth failing for
    return closed


def _is_dead(tags: dict[str, str]) -> bool:
    if "folder" not in tags:
        return False
    name = tags.get("lock", NAMES.ledger.name)
    # Earlier versions locked the ledger itself, which nothing but its search may open to write.
    lock = Path(tags["folder"]) / (NAMES.lock.name if name == NAMES.ledger.name else name)
    try:
        inode = str(lock.stat().st_ino)
    except (OSError, ValueError):
        inode = ""
    # In a container another search's lock may have the same path.
    if inode and tags.get("inode", inode) == inode:
        return not is_held(lock)
    return lives(tags.get("process", "")) is False
