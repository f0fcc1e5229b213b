"""`python -m benchmarks.cluster`: how a search's driver holds up on 16 hosts, beside one host with as many slots.

Both are clusters of virtual nodes on this machine (`ray.cluster_utils`: real Ray nodes, each with processes of its own,
beside a head that trains nothing), with a search in a process of its own: real study, ASHA, ledger, checkpoints and
MLflow store, and surrogate trials whose epochs sleep, so that two cores are enough for all. What is new on 16 nodes is
what the driver has to say to 16 instead of one; network and disks of real hosts are not in it.

Every rate is of the time in which all slots are taken: from when the last of them was filled to when the last trial was
started. Slots are busy as long as their trials train: results x seconds an epoch / (slots x seconds). The driver's CPU
time is that of its whole process, Ray's and MLflow's threads too.
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
from benchmarks.surrogate import Surrogate
from orchestrator import launch
from orchestrator.callback import SearchCallback
from orchestrator.tuner import WORKER_ENVIRONMENT

ROOT = Path(__file__).parent.parent
SLOTS = 16
#: Nodes, and the slots of each.
LAYOUTS = ((1, SLOTS), (SLOTS, 1))
#: Seconds an epoch sleeps, and the trials of such a search: short epochs of real trials, and the driver at its limit.
CASES = {1.0: 128, 0.1: 256}
EPOCHS = 6
#: Bytes of each node's object store.
STORE = 80 << 20

Figures = dict[str, float]
Row = dict[str, str | float]


class Watch:
    """What a search had done and used, whenever a trial started."""

    def __init__(self) -> None:
        self.started, self.ended, self.results = 0, 0, 0
        self.seen = list[tuple[float, float, int, int]]()

    def before(self, call: Callable[..., Any], note: Callable[[], None]) -> Callable[..., Any]:
        """`call`, after `note`."""

        def wrapper(*args: Any, **options: Any) -> Any:
            note()
            return call(*args, **options)

        return wrapper

    def on_start(self) -> None:
        self.seen.append((time.perf_counter(), time.process_time(), self.ended, self.results))

    def on_result(self) -> None:
        self.results += 1

    def on_end(self) -> None:
        self.ended += 1

    def figures(self) -> Figures:
        """Between the start that filled the last slot and the last start."""
        (began, used, ended, results), last = self.seen[SLOTS - 1], self.seen[-1]
        seconds, trials = last[0] - began, last[2] - ended
        return {"seconds": seconds, "cpu": last[1] - used, "trials": trials, "results": last[3] - results}


def drive(address: str, folder: str, name: str, seconds: float) -> None:
    """One search on a cluster; leaves its figures in `folder/name.json`."""
    watch = Watch()
    patched: Any = SearchCallback
    patched.on_trial_start = watch.before(SearchCallback.on_trial_start, watch.on_start)
    patched.on_trial_result = watch.before(SearchCallback.on_trial_result, watch.on_result)
    patched.on_trial_complete = watch.before(SearchCallback.on_trial_complete, watch.on_end)
    replaced: Any = launch
    replaced.Trial = Surrogate
    WORKER_ENVIRONMENT["SURROGATE_SECONDS"] = str(seconds)
    found = orchestrator.run_search(
        name=name,
        address=address,
        storage=folder,
        tracking_uri=f"sqlite:///{folder}/mlflow.db",
        arch=("unet", "smp_unet"),
        encoder=("resnet18",),
        weights="none",
        trials=CASES[seconds],
        epochs=EPOCHS,
        image_size=64,
        time_budget="10h",
        ensemble=False,
    )
    whole = {"lag": found["tracking_lag_seconds"], "memory": _peak(), "done": len(found["trials"])}
    (Path(folder) / f"{name}.json").write_text(json.dumps(watch.figures() | whole))


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


def measure(folder: Path) -> dict[float, list[Figures]]:
    """By seconds an epoch, the figures of each layout.

    Raises:
        RuntimeError: a search did not end well; its output says why.
    """
    found: dict[float, list[Figures]] = {seconds: [] for seconds in CASES}
    for count, cpus in LAYOUTS:
        with nodes(count, cpus) as address:
            for seconds in CASES:
                name = f"{count} nodes {seconds} s"
                _say(f"{name}: {CASES[seconds]} trials")
                code = "import json, sys; from benchmarks import cluster; cluster.drive(*json.loads(sys.argv[1]))"
                command = [sys.executable, "-c", code, json.dumps([address, str(folder), name, seconds])]
                done = subprocess.run(
                    command, cwd=ROOT, env=os.environ | WORKER_ENVIRONMENT, capture_output=True, text=True
                )
                if done.returncode:
                    raise RuntimeError(f"{name}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
                found[seconds].append(json.loads((folder / f"{name}.json").read_text()))
    return found


def rows(found: dict[float, list[Figures]]) -> list[Row]:
    """A line for each search."""
    return [
        {
            "epoch, s": f"{seconds:g}",
            "nodes": count,
            "slots": SLOTS,
            "trials": CASES[seconds],
            "trials/s": figures["trials"] / figures["seconds"],
            "results/s": figures["results"] / figures["seconds"],
            "slots busy": figures["results"] * seconds / (SLOTS * figures["seconds"]),
            "driver CPU, s a trial": figures["cpu"] / figures["trials"],
            "driver CPU, of a core": figures["cpu"] / figures["seconds"],
            "MLflow lag, s": figures["lag"],
            "driver memory, MB": figures["memory"] / 1e6,
        }
        for seconds, of_case in found.items()
        for (count, _), figures in zip(LAYOUTS, of_case, strict=True)
    ]


def ratios(lines: list[Row]) -> list[Row]:
    """Sixteen nodes' figures divided by one's."""
    names = ("trials/s", "slots busy", "driver CPU, s a trial", "driver memory, MB")
    pairs = zip(lines[::2], lines[1::2], strict=True)
    return [
        {"epoch, s": one["epoch, s"], **{name: float(many[name]) / float(one[name]) for name in names}}
        for one, many in pairs
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Run the searches and print the tables."""
    argparse.ArgumentParser(prog="python -m benchmarks.cluster", description=__doc__).parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        lines = rows(measure(Path(folder)))
    print(f"\n{machine()}\n\n{table(lines)}\n\n{SLOTS} nodes to one:\n\n{table(ratios(lines))}")


def _peak() -> int:
    """The most memory that this process had, bytes."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
