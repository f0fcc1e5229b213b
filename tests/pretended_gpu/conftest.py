"""Trainings on a pretended GPU. In a process of their own: it alters torch for good."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch

from search_spaces import SPACES, Config
from tests.support.pretended_gpu import PretendedGpu
from trainables import device_batches, devices
from trainables.data import Prepared, prepare, read_manifest, write_phantom

SIZE = 32
#: A cheap architecture and encoder of each task.
CHEAP = {
    "seg": ("unet", ""),
    "cls": ("mobilenetv3_small", "mobilenetv3_small_100"),
    "multi": ("pspnet", "mobilenetv3_large_100"),
}


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """A small synthetic dataset, prepared at 32 px."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    folder = write_phantom(tmp_path_factory.mktemp("data") / "phantom", images=16, seed=3)
    return prepare(read_manifest(folder), tmp_path_factory.mktemp("cache"), size=SIZE)


@pytest.fixture
def gpu(request: pytest.FixtureRequest) -> Iterator[PretendedGpu]:
    """A GPU of today, or of the capability that a test asks for."""
    devices.has_bfloat16.cache_clear()
    with PretendedGpu(getattr(request, "param", (9, 0))) as found:
        yield found
    device_batches._held.clear()
    devices.has_bfloat16.cache_clear()


def configuration(task: str, architecture: str = "", encoder: str = "", **more: Any) -> Config:
    """A whole configuration of a task: of its cheap architecture unless one is named."""
    architecture, encoder = (architecture, encoder) if architecture else CHEAP[task]
    return {
        **SPACES[task].HOUSE,
        **{"architecture": architecture, "encoder": encoder, "dropout": 0.1, "batch_size": 6, "warmup_epochs": 0},
        **{"epochs": 3, "classes": 3, "seed": 0, "image_size": SIZE, **more},
    }


def emptied(folder: Path) -> Path:
    """An empty folder for a checkpoint."""
    folder.mkdir(parents=True)
    return folder
