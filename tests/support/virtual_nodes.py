"""A Ray cluster of virtual nodes on this machine, and searches on it.

As a script it is `python -m orchestrator.search` with stand-in trials that look at their host as real ones do.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import ray
from ray._private.node import Node
from ray.cluster_utils import Cluster

from search_spaces import Config

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))  # as a script it has only its own folder there

from benchmarks import surrogate  # noqa: E402

EPOCHS = 6
PACKAGES = ("orchestrator", "trainables", "search_spaces")
SMALL = {"object_store_memory": 80 << 20}


class Nodes:
    """A head, which takes no trials, and workers that come and go; each worker has an address of its own.

    Attributes:
        address: of the cluster.
        workers: by address, those that are there.
    """

    def __init__(self) -> None:
        self._cluster = Cluster(initialize_head=True, head_node_args={**SMALL, "num_cpus": 0})
        self._count = 1
        self.address = self._cluster.address
        self.workers: dict[str, Node] = {}

    def add(self, cpus: int = 1, gpus: int = 0, **environment: str) -> str:
        """Start a worker; returns its address."""
        self._count += 1
        address = f"127.0.0.{self._count}"
        self.workers[address] = self._cluster.add_node(
            **SMALL, num_cpus=cpus, num_gpus=gpus, node_ip_address=address, env_vars=environment
        )
        return address

    def of(self, process: int) -> str:
        """Address of the worker on which a process runs; "" for one that is gone."""
        with suppress(FileNotFoundError, ProcessLookupError):
            parent = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
            for address, node in self.workers.items():
                if _raylet(node) == parent:
                    return address
        return ""

    def kill(self, address: str) -> None:
        """SIGKILL to all that runs on a worker, at once, as a machine goes whose power is cut."""
        node = self.workers.pop(address)
        raylet = _raylet(node)
        children = Path(f"/proc/{raylet}/task/{raylet}/children").read_text().split()
        for process in (raylet, *map(int, children)):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self._cluster.remove_node(node, allow_graceful=False)

    def clear(self) -> None:
        """Take all workers away, and wait until the cluster knows."""
        while self.workers:
            self._cluster.remove_node(self.workers.popitem()[1])
        self._cluster.wait_for_nodes(60)

    def close(self) -> None:
        """End them all."""
        self._cluster.shutdown()


def other_sources(folder: Path, text: str) -> dict[str, str]:
    """The environment of a worker on which one file of this project has another text."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "trainables" / "__init__.py").write_text(text)
    return {"PYTHONPATH": str(folder)}


def _raylet(node: Node) -> int:
    return node.all_processes["raylet"][0].process.pid


class Checked(surrogate.Surrogate):
    """A stand-in trial that looks at its host before anything else, and waits where a test wants it to.

    SURROGATE_GATES is a folder. The file "epoch" in it holds the last epoch that may be trained. Where "handover" is, a
    worker writes its process id there when it is to take another trial, and waits for it to go away.
    """

    def setup(self, config: Config, shared: Any) -> None:  # type: ignore[override]
        """Called once a worker."""
        if shared.fitting:
            shared.fitting()
        super().setup(config, shared)

    def reset_config(self, new_config: Config) -> bool:
        """Take the next trial."""
        handover = Path(os.environ["SURROGATE_GATES"]) / "handover"
        if hasattr(self, "settings") and handover.exists():
            handover.write_text(str(os.getpid()))
            while handover.exists():
                time.sleep(0.05)
        return super().reset_config(new_config)

    def step(self) -> dict[str, Any]:
        """An epoch."""
        with suppress(FileNotFoundError):
            while self.epoch >= int((Path(os.environ["SURROGATE_GATES"]) / "epoch").read_text()):
                time.sleep(0.05)
        return super().step()


if __name__ == "__main__":
    from orchestrator.search import main
    from orchestrator.tuning import launch, tuner

    # Workers have neither this file's folder nor this process's environment.
    ray.cloudpickle.register_pickle_by_value(surrogate)
    tuner.WORKER_ENVIRONMENT |= {name: value for name, value in os.environ.items() if name.startswith("SURROGATE_")}
    launch.Trial = Checked  # type: ignore[misc,assignment]
    code = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)
