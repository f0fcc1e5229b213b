"""`python -m benchmarks.cluster`: how a search's driver holds up on 16 hosts, beside one host with as many slots.

Both are clusters of virtual nodes on this machine (`ray.cluster_utils`: real Ray nodes, each with processes of its own,
beside a head that trains nothing), with a search in a process of its own: real study, ASHA, ledger, checkpoints and
MLflow store, and surrogate trials whose epochs sleep, so that two cores are enough for all. What is new on 16 nodes is
what the driver has to say to 16 instead of one; network and disks of real hosts are not in it.

Every rate is of the time in which all slots are taken: from when the last of them was filled to when the last trial was
started. Slots are busy as long as their trials train: results x seconds an epoch / (slots x seconds). The driver's CPU
time is that of its whole process, Ray's and MLflow's threads too; the machine's is that of all that runs on it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ray.cluster_utils import Cluster

import orchestrator
from benchmarks.report import machine, table
from benchmarks.surrogate import SETTINGS, Surrogate
from orchestrator.cluster.session import WORKER_ENVIRONMENT
from orchestrator.tuning import launch
from orchestrator.tuning.callback import SearchCallback

ROOT = Path(__file__).parent.parent
SLOTS = 16
#: Nodes, and the slots of each.
LAYOUTS = ((1, SLOTS), (SLOTS, 1))
TRIALS, EPOCHS = 160, 6
#: Seconds that an epoch sleeps: a short one of real trials.
SECONDS = 1.0
#: Bytes of each node's object store.
STORE = 80 << 20

Figures = dict[str, float]


class Watch:
    """What a search had done and used, whenever a trial started."""

    def __init__(self) -> None:
        self.started, self.ended, self.results = 0, 0, 0
        self.seen = list[tuple[float, float, float, int, int]]()

    def before(self, call: Callable[..., Any], note: Callable[[], None]) -> Callable[..., Any]:
        """`call`, after `note`."""

        def wrapper(*args: Any, **options: Any) -> Any:
            note()
            return call(*args, **options)

        return wrapper

    def on_start(self) -> None:
        self.seen.append((time.perf_counter(), time.process_time(), _busy(), self.ended, self.results))

    def on_result(self) -> None:
        self.results += 1

    def on_end(self) -> None:
        self.ended += 1

    def figures(self) -> Figures:
        """Between the start that filled the last slot and the last start."""
        names = ("seconds", "cpu", "machine", "trials", "results")
        first, last = self.seen[SLOTS - 1], self.seen[-1]
        return {name: after - before for name, before, after in zip(names, first, last, strict=True)}


def drive(address: str, folder: str, name: str) -> None:
    """One search on a cluster; leaves its figures in `folder/name.json`."""
    watch = Watch()
    patched: Any = SearchCallback
    patched.on_trial_start = watch.before(SearchCallback.on_trial_start, watch.on_start)
    patched.on_trial_result = watch.before(SearchCallback.on_trial_result, watch.on_result)
    patched.on_trial_complete = watch.before(SearchCallback.on_trial_complete, watch.on_end)
    replaced: Any = launch
    replaced.Trial = Surrogate
    replaced.pictures.log_all = lambda *given, **options: []  # of networks, which these trials have not
    WORKER_ENVIRONMENT["SURROGATE_SECONDS"] = str(SECONDS)
    found = orchestrator.run_search(
        name=name,
        address=address,
        storage=folder,
        tracking_uri=f"sqlite:///{folder}/mlflow.db",
        trials=TRIALS,
        epochs=EPOCHS,
        **SETTINGS,
    )
    figures = watch.figures() | {"lag": found.tracking_lag_seconds, "memory": _peak()}
    (Path(folder) / f"{name}.json").write_text(json.dumps(figures))


@contextmanager
def nodes(count: int, cpus: int) -> Iterator[str]:
    """A cluster with so many workers; its address."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": STORE})
    try:
        for _ in range(count):
            cluster.add_node(num_cpus=cpus, object_store_memory=STORE)
        yield cluster.address
    finally:
        cluster.shutdown()


def measure(count: int, cpus: int, folder: Path) -> Figures:
    """A search on so many nodes.

    Raises:
        RuntimeError: it did not end well; its output says why.
    """
    name = f"{count} x {cpus}"
    _say(f"{name}: starting the nodes")
    with nodes(count, cpus) as address:
        _say(f"{name}: searching")
        code = "import json, sys; from benchmarks import cluster; cluster.drive(*json.loads(sys.argv[1]))"
        command = [sys.executable, "-c", code, json.dumps([address, str(folder), name])]
        environment = os.environ | WORKER_ENVIRONMENT
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    figures: Figures = json.loads((folder / f"{name}.json").read_text())
    return figures


def rows(one: Figures, many: Figures) -> list[dict[str, str | float]]:
    """A line for each measure."""
    measures: dict[str, Callable[[Figures], float]] = {
        "trials/s": lambda of: of["trials"] / of["seconds"],
        "epochs/s": lambda of: of["results"] / of["seconds"],
        "slots busy": lambda of: of["results"] * SECONDS / (SLOTS * of["seconds"]),
        "driver's CPU time, s a trial": lambda of: of["cpu"] / of["trials"],
        "driver's CPU time, cores": lambda of: of["cpu"] / of["seconds"],
        "machine's CPU time, cores": lambda of: of["machine"] / of["seconds"],
        "driver's memory, GB": lambda of: of["memory"] / 1e9,
        "MLflow lag, s": lambda of: of["lag"],
    }
    return [
        {"measure": name, "1 node x 16": value(one), "16 nodes x 1": value(many), "ratio": value(many) / value(one)}
        for name, value in measures.items()
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Run the searches and print the tables."""
    argparse.ArgumentParser(prog="python -m benchmarks.cluster", description=__doc__).parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        one, many = (measure(count, cpus, Path(folder)) for count, cpus in LAYOUTS)
    print(f"\n{machine()}\n\n{table(rows(one, many))}")


def _busy() -> float:
    """Core-seconds for which this machine has worked."""
    user, nice, system, *_ = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    return (int(user) + int(nice) + int(system)) / os.sysconf("SC_CLK_TCK")


def _peak() -> int:
    """The most memory that this process had, bytes."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
