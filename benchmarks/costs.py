"""What an architecture costs to train: the entry `costs` of its registry in `search_spaces`, measured.

`python -m benchmarks.costs --task seg|cls NAME [--encoder ENCODER ...]` prints seconds an image of 128 px on one CPU
thread (batches of 8, the house settings): the median of three epochs of 48 images, each after one that warms up. NAME
is in the registry already, with any figures. Run it on a quiet machine, and an old neighbour beside it, for figures of
another machine are good for ratios alone.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from search_spaces import SPACES
from trainables.data import prepare, read_manifest, write_phantom
from trainables.timing import seconds_per_image
from trainables.training import Training

SIZE, IMAGES, TIMES = 128, 48, 3


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, and print the entry."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=("seg", "cls"), required=True)
    parser.add_argument("--encoder", nargs="*", default=[], help="some of its encoders; without it, all")
    parser.add_argument("name", metavar="NAME", help="an architecture")
    options = parser.parse_args(argv)
    entry = SPACES[options.task].architecture(options.name)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        root = write_phantom(Path(scratch) / "phantom", images=120)
        data = prepare(read_manifest(root), Path(scratch) / "cache", size=SIZE, folds=2)
        for encoder in options.encoder or entry.costs:
            config = {
                **SPACES[options.task].HOUSE,
                **{"architecture": entry.name, "encoder": encoder, "dropout": 0.0, "batch_size": 8},
                **{"warmup_epochs": 0, "epochs": 2, "seed": 0, "classes": 3, "image_size": SIZE},
            }
            runs = [seconds_per_image(Training(options.task, config, data), IMAGES) for _ in range(TIMES)]
            found = median(runs)
            print(f'"{encoder}": {found:.3f},  # {entry.costs[encoder]:.3f} in the registry', flush=True)


if __name__ == "__main__":
    main()
