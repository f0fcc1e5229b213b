"""Why a trial failed, from what Tune keeps of its errors on the driver's host."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import ray

#: Hosts that may die with a trial before it has another epoch.
DEATHS = 5

DISK_FULL = os.strerror(errno.ENOSPC)
#: Ray's words for an actor that went with its host.
NODE_DIED = "node has died"
#: And for one that could not even begin.
NEVER_RAN = "error raised in its creation task"


def last_line(trial: Any) -> str:
    """The last line of its error."""
    try:
        return Path(trial.error_file).read_text().strip().splitlines()[-1]
    except (OSError, IndexError, TypeError):
        return "its worker died"


def host_died(trial: Any) -> bool:
    """Whether its worker went with its host. Before Ray knows that, it only cannot reach the worker."""
    error = _error(trial)
    gone = isinstance(error, ray.exceptions.RayActorError) and NODE_DIED in str(error)
    return gone or isinstance(error, ray.exceptions.ActorUnavailableError)


def never_ran(trial: Any) -> bool:
    """Whether its worker could not even begin."""
    return NEVER_RAN in str(_error(trial))


def _error(trial: Any) -> Exception | None:
    """What it failed with, by the local file: Tune itself would look in the storage, where that comes later."""
    try:
        return ray.cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
    except (OSError, TypeError):
        return None
