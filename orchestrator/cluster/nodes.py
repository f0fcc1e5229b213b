"""The hosts of a Ray cluster: those that are there, those that may come, and waiting for the first."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ray
import yaml
from ray.autoscaler import sdk

from orchestrator.cluster import resources
from orchestrator.cluster.resources import Host, TrialResources
from orchestrator.common.console import say
from orchestrator.common.errors import UserError

#: `ray up` leaves there, on the head, what the autoscaler may start.
BOOTSTRAP = Path("~/ray_bootstrap_config.yaml")
#: Seconds between two looks at who is there.
LOOK = 2.0


def is_one(address: str) -> bool:
    """Whether Ray, which must be there, runs on hosts that others have started."""
    return bool(address or os.environ.get("RAY_ADDRESS")) or len(_nodes()) > 1


def nodes() -> list[dict[str, Any]]:
    """Ray's nodes that are alive and on which trials can run."""
    return [node for node in _nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]


def _nodes() -> list[dict[str, Any]]:
    return list(ray.nodes())


def present() -> list[Host]:
    """The hosts on which trials can run now."""
    return [_host(node["Resources"]) for node in nodes()]


def possible(alive: list[Host] | None = None) -> list[Host]:
    """The hosts that are there, and those that the autoscaler may add to them."""
    found = present() if alive is None else list(alive)
    for kind, count in _startable():
        found += [kind] * max(0, count - found.count(kind))
    return found


def first_of(share: TrialResources) -> Callable[[Sequence[Any], Callable[[], bool]], Any]:
    """What waits for the first of Ray's tasks that ends, of those it is called with; None where that is over before.

    That no host is left for them is said.

    Args:
        share: what a task gets.
    """
    tell = _teller(share)

    def wait(tasks: Sequence[Any], over: Callable[[], bool]) -> Any:
        while not over():
            if not tasks:  # all rest, for want of memory
                time.sleep(LOOK)
                continue
            done, _ = ray.wait(list(tasks), timeout=LOOK)
            if done:
                return done[0]
            tell(present())
        return None

    return wait


def slots(share: TrialResources, most: int | None) -> Callable[[], int]:
    """How many trials may run at a time by now: the number follows the cluster as hosts come and go.

    Pending trials are what the autoscaler starts hosts for, so those that may come count, too. That no host is left is
    said.

    Args:
        share: what a trial gets.
        most: the user's limit.
    """
    known, looked, tell = share.slots, time.monotonic(), _teller(share)

    def now() -> int:
        nonlocal known, looked
        if time.monotonic() - looked > LOOK:
            hosts = present()
            fits = resources.fitting(possible(hosts), share.cpus, share.gpus)
            known, looked = max(1, min(fits, most or fits)), time.monotonic()
            tell(hosts)
        return known

    return now


def wait_for_workers(cpus: int | None, gpus: float | None) -> None:
    """Return once a host is there on which trials can run; ask the autoscaler for one, and say so.

    Args:
        cpus, gpus: of a trial, where the user fixed them.

    Raises:
        UserError: no host that the autoscaler may start has so many.
    """
    if nodes():
        return
    coming = possible([])
    if coming and not resources.fitting(coming, cpus or 1, gpus or 0):
        resources_of_trial = f"{cpus or 1} cores" + (f" and {gpus:g} GPUs" if gpus else "")
        raise UserError(f"no worker that this cluster may start has {resources_of_trial}; change its YAML, or ask less")
    how = "one is asked for" if coming else "start some with `ray start --address=HEAD:6379`"
    line = f"waiting for workers: there are none yet; {how} (Ctrl-C leaves)"
    say(line)
    bundle = {"CPU": cpus or 1} | ({"GPU": gpus} if gpus else {})
    if coming:
        sdk.request_resources(bundles=[bundle])
    try:
        while not nodes():
            time.sleep(LOOK)
    finally:
        if coming:
            sdk.request_resources(bundles=[])
    say(f"workers: {len(nodes())} there")


def _teller(share: TrialResources) -> Callable[[list[Host]], None]:
    """Says that hosts are gone, each time that the last one goes."""
    alone = False

    def tell(hosts: list[Host]) -> None:
        nonlocal alone
        before, alone = alone, not resources.fitting(hosts, share.cpus, share.gpus)
        if alone and not before:
            say("waiting for workers: no host is left that could go on")

    return tell


def _host(found: dict[str, float]) -> Host:
    return Host(int(found.get("CPU", 0)), int(found.get("GPU", 0)))


def _startable() -> list[tuple[Host, int]]:
    """Each kind of host that the autoscaler may start, and how many of it; empty where no `ray up` was."""
    config: dict[str, Any] = {}
    with contextlib.suppress(OSError, UnicodeDecodeError, yaml.YAMLError):
        config = yaml.safe_load(BOOTSTRAP.expanduser().read_text()) or {}
    most = config.get("max_workers", 0)
    kinds = []
    for name, kind in config.get("available_node_types", {}).items():
        host, count = _host(kind.get("resources") or {}), min(kind.get("max_workers", most), most)
        if name != config.get("head_node_type") and host.cpus and count:
            kinds.append((host, count))
    return kinds
