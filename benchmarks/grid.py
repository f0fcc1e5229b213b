"""Learning curves of full grids of real configurations, recorded once: what the search benchmark draws from.

`python -m benchmarks.grid NAME --data DIR` trains all of a grid (30 to 70 minutes on one core) and adds a line each to
benchmarks/grids/NAME.jsonl; those that the file already has are not trained again. The seconds of cls, which was
recorded before they were, are the registry's costs of its 486 images at 64 px.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from search_spaces import SPACES
from trainables.data import Prepared, prepare, read_manifest
from trainables.data.manifest import TEST
from trainables.models.weights import find
from trainables.training import DivergedError, Training

FOLDER = Path(__file__).with_name("grids")
EPOCHS, IMAGE_SIZE = 9, 64
Point = dict[str, Any]


@dataclass(frozen=True)
class Grid:
    """Configurations of one task on one set of images.

    Attributes:
        name: of its file. task: seg, cls or multi. primary: what its curves are of.
        half: of the groups, 0 or 1; None for all of the data.
        axes: values by setting; all else is the house default.
        without: no configuration has all values of one of these: they cost too much to record.
    """

    name: str
    task: str
    primary: str
    half: int | None
    axes: Mapping[str, tuple[Any, ...]]
    without: tuple[Point, ...] = ()

    @property
    def file(self) -> Path:
        """Where its curves are."""
        return FOLDER / f"{self.name}.jsonl"

    def points(self) -> Iterator[Point]:
        """Every configuration."""
        for values in itertools.product(*self.axes.values()):
            point = dict(zip(self.axes, values, strict=True))
            if not any(point.items() >= left_out.items() for left_out in self.without):
                yield point


#: Encoders have ImageNet weights that install with pip, but for mobilenetv3_small and unet, which start at random.
GRIDS = {
    grid.name: grid
    for grid in (
        Grid(
            "cls",
            "cls",
            "auroc",
            None,
            {
                "architecture": ("tf_efficientnet_lite0", "tf_efficientnet_lite2", "mobilenetv3_small"),
                "lr": (3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2),
                "augmentation": ("none", "light", "strong"),
                "balance": ("none", "weights"),
                "head": ("gap", "se"),
            },
        ),
        Grid(
            "seg",
            "seg",
            "dice",
            0,
            {
                "architecture": ("pspnet", "linknet", "smp_unet", "deeplabv3"),
                "lr": (1e-4, 3e-4, 1e-3, 3e-3, 1e-2),
                "augmentation": ("light", "strong"),
                "loss": ("dice_bce", "bce", "focal"),
            },
            (
                {"architecture": "deeplabv3", "augmentation": "strong"},
                {"architecture": "deeplabv3", "loss": "focal"},
            ),
        ),
        Grid(
            "multi",
            "multi",
            "score",
            1,
            {
                "architecture": ("pspnet", "linknet", "smp_unet"),
                "lr": (1e-4, 3e-4, 1e-3, 2e-3, 4e-3, 1e-2),
                "mask_weight": (0.2, 0.5, 0.8),
                "balance": ("none", "weights"),
            },
        ),
    )
}


@dataclass(frozen=True)
class Curve:
    """What one configuration did.

    Attributes:
        best: the best validation value so far after each epoch.
        seconds: CPU seconds of an epoch on one thread, validation included.
    """

    best: tuple[float, ...]
    seconds: float


def read(grid: Grid) -> dict[tuple[Any, ...], Curve]:
    """Curves by the values of the grid's axes in their order."""
    rows = [json.loads(line) for line in grid.file.read_text().splitlines()] if grid.file.exists() else []
    return {tuple(row["point"][name] for name in grid.axes): Curve(tuple(row["best"]), row["seconds"]) for row in rows}


def half(data: Prepared, which: int) -> Prepared:
    """The data with every other group put aside, so that no group is in both halves."""
    return replace(data, split=np.where(data.groups % 2 == which, data.split, TEST))


def main(argv: Sequence[str] | None = None) -> None:
    """Train what is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=GRIDS)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=Path("runs/.cache"))
    options = parser.parse_args(argv)
    grid = GRIDS[options.name]
    torch.set_num_threads(1)
    data = prepare(read_manifest(options.data), options.cache, size=IMAGE_SIZE)
    data = data if grid.half is None else half(data, grid.half)
    known = read(grid)
    for point in grid.points():
        if tuple(point.values()) not in known:
            row = {"point": point, **_train(grid, point, data)}
            with grid.file.open("a") as out:
                out.write(json.dumps(row) + "\n")
            print(row, flush=True)


def _train(grid: Grid, point: Point, data: Prepared) -> dict[str, Any]:
    space = SPACES[grid.task]
    encoder = next(iter(space.architecture(point["architecture"]).encoders), "")
    fixed = {"warmup_epochs": 1, "epochs": EPOCHS, "seed": 0, "classes": 3, "image_size": IMAGE_SIZE}
    config = {"dropout": 0.0, **space.HOUSE, **fixed, **point, "encoder": encoder}
    if "loss" in point and "_" not in point["loss"]:
        config["loss_weight"] = 0.0
    training = Training(grid.task, config, data, find(encoder, "auto") if encoder else None)
    best: list[float] = []
    begun = time.process_time()
    try:
        while training.epoch < EPOCHS:
            training.train_epoch()
            best.append(round(max([training.evaluate()[grid.primary], *best[-1:]]), 5))
    except DivergedError:
        pass
    seconds = (time.process_time() - begun) / (len(best) + 1 if len(best) < EPOCHS else EPOCHS)
    best += [best[-1] if best else 0.0] * (EPOCHS - len(best))
    return {"best": best, "seconds": round(seconds, 3)}


if __name__ == "__main__":
    main()
