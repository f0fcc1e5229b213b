"""What Ray says of a worker that died, in one line; and what is done where a host's memory runs out."""

from __future__ import annotations

import logging
import re
import time
from pathlib import PurePath

from ray.exceptions import RayActorError, RayError, RayTaskError

from orchestrator.common.console import format_seconds
from orchestrator.common.errors import first_line

log = logging.getLogger(__name__)

#: Seconds before anything begins again after a host's memory ran out; twice as long each further time, to the longest.
REST, LONGEST = 30.0, 300.0
#: Seconds without that, after which all is as it was.
QUIET = 3600.0
#: Processes that are named.
NAMED = 3
#: What Ray's memory monitor says, up to 2.55 and since; a line a process in its table.
_USED = re.compile(r"Memory on the node \(IP: ([^,)]+).*?was ([\d.]+)GB(?: used)? / ([\d.]+)GB", re.DOTALL)
_PROCESS = re.compile(r"^(\d+)\t([\d.]+)\t(\S+)", re.MULTILINE)


class HostMemoryError(RayActorError):
    """A host's memory ran out, and Ray ended a worker there: not for what the worker itself held, but as the newest."""

    def __init__(self, words: str) -> None:
        super().__init__(error_msg=words)


def death(error: RayError) -> RayError:
    """What a worker died of, as an error of one line; what its work raised stays what it is."""
    if isinstance(error, RayTaskError | HostMemoryError):
        return error
    if found := _USED.search(str(error)):
        host, used, total = found.groups()
        most = [f"{PurePath(name).name} ({pid}) {gb} GB" for pid, gb, name in _PROCESS.findall(str(error))[:NAMED]]
        which = f"; most by {', '.join(most)}" if most else ""
        return HostMemoryError(f"memory of host {host} ran out: {used} of {total} GB used{which}")
    if isinstance(error, RayActorError):
        return error
    return RayActorError(error_msg=first_line(error))


class MemoryShortage:
    """Waits where hosts run out of memory, and, each further time, has one fewer worker at a time: for one command."""

    def __init__(self) -> None:
        self._times, self._until = 0, 0.0

    def heed(self, error: BaseException | None) -> bool:
        """Rest, and say so, where a worker died for want of memory; False where that was said, and it rests already."""
        if not isinstance(error, HostMemoryError):
            return True
        if self.rest:
            return False
        rest = min(REST * 2**self._again, LONGEST)
        self._times, self._until = self._again + 1, time.monotonic() + rest
        fewer = f", with {self._times - 1} fewer at a time" if self._times > 1 else ""
        log.warning("%s; going on in %s%s", error, format_seconds(rest), fewer)
        return True

    @property
    def rest(self) -> float:
        """Seconds for which nothing is to begin."""
        return max(0.0, self._until - time.monotonic())

    def slots(self, most: int) -> int:
        """How many workers there may be at a time, of so many otherwise."""
        return max(1, most - max(0, self._again - 1))

    @property
    def _again(self) -> int:
        """How often it was so, an hour between two times at most."""
        return self._times if time.monotonic() < self._until + QUIET else 0
