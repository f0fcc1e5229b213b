"""Whether the hosts of a cluster fit together: versions as the driver's, and one storage for all."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import socket
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestrator.cluster import nodes
from orchestrator.cluster.deaths import death
from orchestrator.common.errors import UserError, first_line
from orchestrator.storage.storage import PATIENCE, Storage, reason
from trainables import unfinished

#: The project, and the packages whose sources must be the same on all hosts.
PROJECT, PACKAGES = "breast-ultrasound-orchestrator", ("orchestrator", "trainables", "search_spaces")
#: Seconds in which a host must answer: it may first have to start a worker, and to look for its storage.
ANSWER = 120.0


class HostError(Exception):
    """A host that came later does not fit; no trial is to blame, and none can run there."""


@dataclass(frozen=True)
class HostRequirements:
    """What a host must have, to be called there.

    Attributes:
        versions: of the driver. storage: of all. probe: a file in it that the driver wrote.
        weights: folder with encoders' weights, where the user gave one.
    """

    versions: dict[str, str]
    storage: Storage
    probe: Path
    weights: Path | None

    def __call__(self) -> None:
        """See that this host fits.

        Raises:
            HostError: it does not; one line says what to do.
        """
        problem = different(self.versions, versions())
        if not problem and self.storage.uri:
            self.storage.trouble(PATIENCE)  # away for a while, for all hosts: no misfit
        if problem := problem or unreachable(self.storage, self.probe, self.weights):
            address: str = ray.util.get_node_ip_address()
            raise HostError(f"host {socket.gethostname()} ({address}): {problem}")

    def misfit(self) -> str:
        """The first host by now that has not the driver's versions, in words; "" for none."""
        try:
            said = _on_each(_asker())
        except UserError as error:
            return str(error)
        return next((f"host {name}: {wrong}" for name, found in said if (wrong := different(self.versions, found))), "")


@contextmanager
def joined(
    address: str, storage: Storage, cpus: int | None, gpus: float | None, weights: Path | None
) -> Iterator[HostRequirements | None]:
    """On a cluster: there is a worker, and all hosts fit together. Yields what later ones must have; None on one host.

    Args:
        address: of the cluster, "" for none that was named.
        cpus, gpus: of a trial, where the user fixed them. weights: folder of encoders' weights, where one was given.

    Raises:
        UserError: they do not fit, or no host may come that has what a trial needs.
    """
    if not (nodes.is_one(address) or storage.uri):
        yield None
        return
    nodes.wait_for_workers(cpus, gpus)
    with checked(storage, weights) as fitting:
        yield fitting


@contextmanager
def checked(storage: Storage, weights: Path | None = None) -> Iterator[HostRequirements]:
    """Look at every host on which trials can run, before anything is trained; yields what later ones must have.

    Args:
        weights: folder with encoders' weights, where the user gave one.

    Raises:
        UserError: one does not fit, or the driver cannot write to the storage.
    """
    mine = versions()
    with unfinished.beside(storage.home / "probe") as probe:
        try:
            probe.parent.mkdir(parents=True, exist_ok=True)
            storage.write(probe, probe.name.encode())
        except OSError as error:
            raise UserError(f"--storage {storage.shown(storage.home)}: cannot be written ({reason(error)})") from None
        try:
            for name, found in _on_each(_asker()):
                if problem := different(mine, found):
                    raise UserError(f"host {name}: {problem}")
            for name, problem in _on_each(unreachable, storage, probe, weights):
                if problem:
                    raise UserError(f"host {name}: {problem}")
            yield HostRequirements(mine, storage, probe, weights)
        finally:
            storage.delete(probe)


def versions() -> dict[str, str]:
    """What must be the same on all hosts, by name."""
    return _asker()()


def different(mine: dict[str, str], found: dict[str, str]) -> str:
    """The first difference to the driver's versions, in words; "" for none."""
    for name, value in mine.items():
        if found.get(name) != value:
            return (
                f"it has {name} {found.get(name)}, the driver {value}; install the same on all hosts (constraints.txt)"
            )
    return ""


def unreachable(storage: Storage, probe: Path, weights: Path | None = None) -> str:
    """Why this host cannot use the storage or the weights, in words; "" where it can."""
    if weights and not weights.is_dir():
        return f"--weights {weights}: no such folder there; put it there, or on what all hosts share"
    try:
        if storage.read(probe).decode() != probe.name:
            shown = storage.shown(storage.home)
            return f"storage {shown} is not shared with it; mount the same folder there, or give --storage s3://BUCKET/RUNS"
        answer = probe.with_name(f"{probe.name}-{uuid.uuid4().hex}")
        storage.write(answer, b"")
        storage.delete(answer)
    except (OSError, UserError) as error:
        return f"storage {storage.shown(storage.home)} cannot be used there ({reason(error)})"
    return ""


def _asker() -> Callable[[], dict[str, str]]:
    """Tells versions. Ray pickles an inner function by value, so hosts without this project, or another, answer."""

    def ask() -> dict[str, str]:
        installed = dict.fromkeys((PROJECT, "torch"), "not installed")
        for name in installed:
            with suppress(importlib.metadata.PackageNotFoundError):
                installed[name] = importlib.metadata.version(name)
        sources = hashlib.sha256()
        for package in PACKAGES:
            spec = importlib.util.find_spec(package)
            for folder in (spec.submodule_search_locations or ()) if spec else ():
                for file in sorted(Path(folder).rglob("*.py")):
                    sources.update(str(file.relative_to(folder)).encode() + b"\0" + file.read_bytes())
        return {
            "Python": ".".join(str(part) for part in sys.version_info[:3]),
            "Ray": ray.__version__,
            "torch": installed["torch"],  # with its build, as +cpu
            PROJECT: f"{installed[PROJECT]} (sources {sources.hexdigest()[:8]})",
        }

    return ask


def _on_each(function: Callable[..., Any], *arguments: Any) -> list[tuple[str, Any]]:
    """What a function says on each host on which trials can run: its name, and the answer.

    Raises:
        UserError: one does not answer.
    """
    tasks = []
    for node in nodes.nodes():
        here = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        task = ray.remote(num_cpus=0, max_retries=1)(function).options(scheduling_strategy=here)
        name = f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
        tasks.append((name, node["NodeID"], task.remote(*arguments)))
    ray.wait([task for *_, task in tasks], num_returns=len(tasks), timeout=ANSWER)
    said = []
    for name, node_id, task in tasks:
        try:
            said.append((name, ray.get(task, timeout=0)))
        except ray.exceptions.RayError as error:
            if node_id not in {node["NodeID"] for node in nodes.nodes()}:
                continue  # it died meanwhile
            why = "no answer" if isinstance(error, ray.exceptions.GetTimeoutError) else first_line(death(error))
            raise UserError(f"host {name}: it cannot run tasks ({why}); see its Ray logs") from None
    return said
