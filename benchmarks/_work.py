"""The one piece of real training that the overhead benchmark gives to every system."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from search_spaces import seg
from trainables.data import Prepared, prepare, read_manifest, write_phantom

IMAGE_SIZE, IMAGES = 64, 80
#: Trials side by side, on any machine, a core each.
SLOTS = 2
#: The default space of one architecture: every sampler is asked about it, whatever is trained.
SPACE: Mapping[str, Any] = {"architectures": ("unet",), "encoders": {}, "batch_sizes": (8, 16, 32)}


def configuration(epochs: int, seed: int) -> dict[str, Any]:
    """What each trial trains, to its last epoch: a small U-Net from scratch."""
    fixed = {"architecture": "unet", "encoder": "", "recipe": "", "batch_size": 8, "dropout": 0.0, "warmup_epochs": 0}
    size = {"image_size": IMAGE_SIZE, "classes": 3}
    return {**seg.HOUSE, **fixed, **size, "epochs": epochs, "seed": seed}


def phantom(folder: Path) -> Path:
    """The images, written once."""
    return write_phantom(folder / "phantom", images=IMAGES)


def prepared(folder: Path) -> Prepared:
    """The prepared data, in the cache that a search with storage `folder`/runs uses."""
    return prepare(read_manifest(phantom(folder)), folder / "runs" / ".cache", size=IMAGE_SIZE)
