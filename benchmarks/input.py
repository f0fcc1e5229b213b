"""Input: how fast batches are prepared, beside augmentation alone and beside reading the files in each epoch.

`python -m benchmarks.input [--data DIR]`; without a folder, on 160 phantom images. Each rate is of one core, on which
the process is held; torch, OpenCV and our loader have one thread each. Only `files, 2 processes` has two cores. In
favour of the files, they lie in the page cache, the workers of a DataLoader live on from epoch to epoch, and the better
of their two ways counts. The repetitions alternate; the first, which starts processes and fills caches, does not count.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from benchmarks.report import machine, table
from search_spaces import seg
from trainables.augment import Augmentation, build_augmentation
from trainables.batches import batches
from trainables.data import Prepared, prepare, read_manifest, write_phantom
from trainables.training import Training

HOUSE: dict[str, Any] = {**seg.HOUSE}
SIZE, REPETITIONS, SECONDS = 128, 3, 1.0
ALONE, OURS = "augmentation alone (the limit)", "this project"
#: One epoch's input, given its number: how many images it gave.
Epoch = Callable[[int], int]


class Files(Dataset):
    """What the notebooks do for an image: decode it and its masks, merge these, resize, augment."""

    def __init__(self, data: Prepared, augment: Augmentation) -> None:
        self.images, self.masks, self.labels = data.files, data.mask_files, data.labels
        self.augment, self.rng = augment, np.random.default_rng(0)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, torch.Tensor, int]:
        image = np.asarray(Image.open(self.images[row]).convert("L"))
        masks = [np.asarray(Image.open(file).convert("L")) for file in self.masks[row]]
        mask = np.max(masks, axis=0) if masks else np.zeros_like(image)
        image = cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
        mask = cv2.resize(mask, (SIZE, SIZE), interpolation=cv2.INTER_NEAREST)
        image, mask = self.augment(image, (mask > 0).astype(np.uint8), int(self.rng.integers(2**32)))
        return torch.from_numpy(image)[None], torch.from_numpy(mask)[None], int(self.labels[row])


@contextmanager
def cores(count: int) -> Iterator[None]:
    """Hold this thread, and the threads and processes that it starts, on so many cores."""
    every = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(every)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, every)


def ways(data: Prepared) -> dict[str, tuple[int, Epoch]]:
    """The ways to an epoch's input, by name: the cores that it gets, and the epoch."""
    rows, augment = np.arange(len(data.images)), build_augmentation(HOUSE["augmentation"], SIZE)
    options: dict[str, Any] = {"batch_size": HOUSE["batch_size"], "device": torch.device("cpu")}
    loaders = [
        DataLoader(Files(data, augment), HOUSE["batch_size"], shuffle=True, num_workers=n, persistent_workers=n > 0)
        for n in (0, 2)
    ]

    def alone(epoch: int) -> int:
        return len([augment(data.images[row], data.masks[row], row) for row in rows.tolist()])

    def ours(epoch: int) -> int:
        return sum(len(b.images) for b in batches(data, rows, augmentation=augment, seed=(0, epoch), **options))

    def files(loader: DataLoader) -> Epoch:
        return lambda epoch: sum(len(images) for images, _, _ in loader)

    return {
        ALONE: (1, alone),
        OURS: (1, ours),
        "files, 1 process": (1, files(loaders[0])),
        "files, 2 processes": (2, files(loaders[1])),
    }


def rate(epoch: Epoch) -> float:
    """Images a second over as many epochs as take `SECONDS`."""
    started, seen, number = time.perf_counter(), 0, 0
    while time.perf_counter() - started < SECONDS:
        number += 1
        seen += epoch(number)
    return seen / (time.perf_counter() - started)


def measure(data: Prepared) -> tuple[dict[str, list[float]], list[float]]:
    """Images a second by way, and the share of its time that a training step waits: one of each a repetition."""
    different = ways(data)
    config = {**HOUSE, "architecture": "smp_unet", "encoder": "tf_efficientnet_lite0", "dropout": 0.0}
    training = Training("seg", config | {"warmup_epochs": 0, "epochs": 99, "seed": 0, "classes": 3}, data)
    rates: dict[str, list[float]] = {name: [] for name in different}
    waits = []
    for _ in range(REPETITIONS + 1):
        for name, (count, epoch) in different.items():
            with cores(count):
                rates[name].append(rate(epoch))
        with cores(1):
            waits.append(training.train_epoch()["train/wait"])
    return {name: values[1:] for name, values in rates.items()}, waits[1:]


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a data folder; without it, phantom images")
    folder = parser.parse_args(argv).data
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as scratch:
        root = folder or write_phantom(Path(scratch) / "phantom", images=160)
        data = prepare(read_manifest(root), Path(scratch) / "cache", size=SIZE)
        rates, waits = measure(data)
        # Of each repetition, against what was measured beside it.
        best = [max(pair) for pair in zip(*(values for name, values in rates.items() if "files" in name), strict=True)]
        rows = [
            {
                "way": name,
                "cores": 2 if name.endswith("processes") else 1,
                "images/s": median(values),
                "of the limit": ratio(values, rates[ALONE]),
                "times the better files": ratio(values, best),
            }
            for name, values in rates.items()
        ]
        height, width = np.median(data.sizes, axis=0)
    where = f"{len(data.images)} images of {folder.name}" if folder else f"{len(data.images)} phantom images"
    print(f"{machine()}\n\n{where}, files of {width:.0f} x {height:.0f} px (median) to {SIZE} px, ", end="")
    print(f"augmentation '{HOUSE['augmentation']}', batch {HOUSE['batch_size']}, median of {REPETITIONS}.\n")
    print(table(rows))
    print("\n| measure | target | found |\n| --- | ---: | ---: |")
    print(f"| a training step waits for input (house default, 1 core) | < 5 % | {100 * median(waits):.2f} % |")
    print(f"| this project, times the better way over files | >= 10 | {ratio(rates[OURS], best):.1f} |")


def ratio(values: Sequence[float], others: Sequence[float]) -> float:
    """Median of the ratios, repetition by repetition."""
    return median(one / other for one, other in zip(values, others, strict=True))


if __name__ == "__main__":
    main()
