"""Learning curves of a full grid of real configurations, recorded once: what the search benchmark draws from.

`python -m benchmarks.grid --data DIR` trains all 216 (about an hour on one core) and adds a line each to
benchmarks/grid.jsonl; those that the file already has are not trained again.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

FILE = Path(__file__).with_name("grid.jsonl")
EPOCHS, IMAGE_SIZE = 9, 64
#: Two backbones whose ImageNet weights install with pip, and one that starts at random without internet.
AXES: dict[str, tuple[Any, ...]] = {
    "architecture": ("tf_efficientnet_lite0", "tf_efficientnet_lite2", "mobilenetv3_small"),
    "lr": (3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2),
    "augmentation": ("none", "light", "strong"),
    "balance": ("none", "weights"),
    "head": ("gap", "se"),
}


def points() -> Iterator[dict[str, Any]]:
    """Every configuration of the grid."""
    for values in itertools.product(*AXES.values()):
        yield dict(zip(AXES, values, strict=True))


def read(file: Path = FILE) -> dict[tuple[Any, ...], list[float]]:
    """Best validation AUROC so far after each epoch, by the values of `AXES` in their order."""
    rows = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    return {tuple(row["point"][name] for name in AXES): row["best"] for row in rows}


def main(argv: Sequence[str] | None = None) -> None:
    """Train what is missing."""
    import torch

    from search_spaces.cls import HOUSE, architecture
    from trainables.data import prepare, read_manifest
    from trainables.models.weights import find
    from trainables.training import DivergedError, Training

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=Path("runs/.cache"))
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    data = prepare(read_manifest(options.data), options.cache, size=IMAGE_SIZE)
    known = read()
    fixed = {"warmup_epochs": 1, "epochs": EPOCHS, "seed": 0, "classes": 3, "image_size": IMAGE_SIZE}
    for point in points():
        if tuple(point.values()) in known:
            continue
        encoder = architecture(point["architecture"]).encoders[0]
        training = Training("cls", {**HOUSE, **fixed, **point, "encoder": encoder}, data, find(encoder, "auto"))
        best: list[float] = []
        try:
            while training.epoch < EPOCHS:
                training.train_epoch()
                best.append(round(max([training.evaluate()["auroc"], *best[-1:]]), 5))
        except DivergedError:
            best += [best[-1] if best else 0.0] * (EPOCHS - len(best))
        with FILE.open("a") as out:
            out.write(json.dumps({"point": point, "best": best}) + "\n")
        print(len(best), best[-1], point, flush=True)


if __name__ == "__main__":
    main()
