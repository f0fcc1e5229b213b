"""What packing trials on a GPU gains: trials an hour and utilisation with 1, 2, 4 and 8 on one GPU.

`python -m benchmarks.packing` runs this project's whole search four times, with the same trials in the same order:
configurations drawn at random from the default segmentation space, random weights, 128 px, as many phantom images as
BUSI has real ones, two epochs, so that none is stopped early. About 8 minutes; without a GPU it says so and ends.

The first search has one trial on the GPU and trains as many as it can in a fixed time. The others train those, some of
them several times over, for there to be enough. The rate is taken while every slot is warm and busy: from when the last
of the slots' first trials has ended to when the last trial starts. A trial counts for what of it lies between, and for
as much as it takes alone, as the trials differ tenfold: trials an hour = seconds of work, as a trial alone on the GPU
takes them / seconds, x 3600 / mean seconds of a trial alone. Utilisation (share of the time in which any kernel ran, by
nvidia-smi) and memory are of the same stretch of time.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import optuna
import torch
from mlflow import MlflowClient

from benchmarks.report import machine, table
from orchestrator.cluster.resources import fraction
from orchestrator.search import run_search
from orchestrator.tuning import launch
from orchestrator.tuning.plan import BATCH_SIZES, Plan
from search_spaces import seg
from trainables.data import write_phantom

PACKED = (1, 2, 4, 8)
TARGET = 3.0
TRIALS, EPOCHS, IMAGES, IMAGE_SIZE = 64, 2, 780, 128
#: Of the search with one trial on the GPU.
SECONDS = 100


class Span(NamedTuple):
    """When a trial ran, seconds since the epoch, and which of the configurations it trained."""

    start: float
    end: float
    number: int


class Sample(NamedTuple):
    """The GPU at a time: percent and MiB."""

    at: float
    utilisation: float
    memory: float


def configurations(count: int = TRIALS) -> list[dict[str, Any]]:
    """Drawn from the default space, the same every time; the seed is the number in this list."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    space: dict[str, Any] = {
        "architectures": tuple(seg.ARCHITECTURES),
        "encoders": {name: entry.encoders for name, entry in seg.ARCHITECTURES.items()},
        "batch_sizes": BATCH_SIZES,
        "epochs": EPOCHS,
    }
    fixed = {"epochs": EPOCHS, "image_size": IMAGE_SIZE, "classes": 3}
    return [{**seg.suggest(study.ask(), **space), **fixed, "seed": number} for number in range(count)]


def search(folder: Path, configs: list[dict[str, Any]], packed: int, seconds: float | None) -> list[Span]:
    """A search with so many trials on the GPU: the trials that trained all their epochs, by start.

    Raises:
        RuntimeError: there are not enough cores.
    """
    plan = Plan(partial(_listed, configs=configs), first_points=[], sources={}, trials=len(configs), notes=())
    launch.make_plan = lambda *given: plan
    uri = f"sqlite:///{folder}/packed-{packed}.db"
    found = run_search(
        data=write_phantom(folder / "phantom", images=IMAGES),
        image_size=IMAGE_SIZE,
        epochs=EPOCHS,
        trials=len(configs),
        time_budget=seconds,
        gpus_per_trial=fraction(packed),
        max_concurrent=packed,
        name=f"packed-{packed}",
        storage=folder / "runs",
        tracking_uri=uri,
        ensemble=False,
    )
    if found.slots != packed:
        raise RuntimeError(f"{packed} trials at a time need as many cores; {found.slots} ran")
    client = MlflowClient(uri)
    those = "tags.kind = 'trial' and tags.stopped = 'completed'"
    runs = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()], those)
    return sorted(
        Span(run.info.start_time / 1000, run.info.end_time / 1000, int(run.data.params["seed"])) for run in runs
    )


def busy(spans: Sequence[Span], slots: int) -> tuple[float, float]:
    """From when each slot's first trial has ended to when the last trial starts; `spans` by start.

    Raises:
        RuntimeError: there are too few trials for that.
    """
    begin, end = max(span.end for span in spans[:slots]), spans[-1].start
    if begin >= end:
        raise RuntimeError(f"{len(spans)} trials are too few for {slots} at a time: raise SECONDS")
    return begin, end


def rate(spans: Sequence[Span], alone: Mapping[int, float], begin: float, end: float) -> float:
    """Trials an hour between two times; `alone`: seconds that each trial takes when it has the GPU to itself."""
    work = 0.0
    for span in spans:
        inside = max(0.0, min(span.end, end) - max(span.start, begin))
        work += inside / (span.end - span.start) * alone[span.number]
    return work / (end - begin) * 3600 / fmean(alone.values())


def sample() -> Sample:
    """Ask nvidia-smi."""
    query = ["--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits"]
    command = ["nvidia-smi", *query, "-i", os.environ["CUDA_VISIBLE_DEVICES"]]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    utilisation, memory = map(float, said.split(","))
    return Sample(time.time(), utilisation, memory)


@contextmanager
def sampling() -> Iterator[list[Sample]]:
    """Samples of the GPU, one a second."""
    samples, over = [sample()], threading.Event()

    def watch() -> None:
        while not over.wait(1):
            samples.append(sample())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield samples
    finally:
        over.set()
        thread.join()


def measure(folder: Path, numbers: Sequence[int] = PACKED, seconds: float = SECONDS) -> list[dict[str, str | float]]:
    """A row for each number of trials on the GPU, 1 first; `seconds` of the search with one."""
    rows: list[dict[str, str | float]] = []
    configs, alone, one = configurations(), dict[int, float](), 0.0
    for packed in numbers:
        with sampling() as samples:
            spans = search(folder, configs * max(1, packed // 2), packed, seconds if packed == 1 else None)
        begin, end = busy(spans, packed)
        if packed == 1:
            alone = {span.number: span.end - span.start for span in spans}
            configs, one = [configs[span.number] for span in spans], rate(spans, alone, begin, end)
        inside = [taken for taken in samples if begin <= taken.at <= end]
        rows.append(
            {
                "trials on the GPU": packed,
                "trials": len(spans),
                "trials an hour": rate(spans, alone, begin, end),
                "ratio to one": rate(spans, alone, begin, end) / one,
                "utilisation, %": fmean(taken.utilisation for taken in inside),
                "peak memory, GiB": max(taken.memory for taken in inside) / 1024,
            }
        )
    return rows


def main() -> None:
    """Measure and print."""
    os.environ["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]  # one GPU
    if not torch.cuda.is_available():
        print("packing: skipped, no CUDA GPU on this machine")
        return
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(sys.stderr):
        rows = measure(Path(folder))
    best = max(float(row["ratio to one"]) for row in rows)
    print(f"{machine()}\n\n{table(rows)}\n\nbest ratio {best:.2f}, target {TARGET:g}")


def _listed(trial: optuna.Trial, configs: list[dict[str, Any]]) -> dict[str, Any]:
    return configs[trial.number]


if __name__ == "__main__":
    main()
