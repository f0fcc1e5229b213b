"""Pieces of the GPU check: a process of its own for what touches CUDA, MPS, and images per second."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

Result = TypeVar("Result")
MPS = "nvidia-cuda-mps-control"


def in_a_process(function: Callable[..., Result], *arguments: Any) -> Result:
    """Call in a process that then ends, and with it its hold on the GPU."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def images_per_second(device: str, size: int, images: int, resident: bool) -> dict[str, float]:
    """One training of the default network, batch 16, strongly augmented: its second epoch.

    Args:
        size: side in pixels. images: of the phantom. resident: they live on the GPU, else the host feeds it.

    Returns:
        `images/s`; `waiting`, share of the epoch spent waiting for input; `peak GiB` of the GPU.
    """
    import torch

    from search_spaces import seg
    from trainables import device_batches
    from trainables.data import prepare, read_manifest, write_phantom
    from trainables.training import Training

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    if not resident:
        device_batches.MOST = 0
    with tempfile.TemporaryDirectory() as folder:
        phantom = write_phantom(Path(folder) / "phantom", images=images)
        data = prepare(read_manifest(phantom), Path(folder) / "cache", size=size)
        config = {**seg.HOUSE, "architecture": "smp_unet", "encoder": "tf_efficientnet_lite0", "dropout": 0.0}
        config |= {"augmentation": "strong", "batch_size": 16, "epochs": 3, "warmup_epochs": 0, "seed": 0, "classes": 3}
        training = Training("seg", config | {"image_size": size}, data, device=device)
        training.train_epoch()
        started = time.perf_counter()
        waiting = training.train_epoch()["train/wait"]
        seconds = time.perf_counter() - started
    peak = torch.cuda.max_memory_reserved() / 2**30 if device == "cuda" else 0.0
    return {"images/s": len(training.training_masks) / seconds, "waiting": waiting, "peak GiB": peak}


@contextmanager
def mps() -> Iterator[bool]:
    """Processes that begin within share the GPU through MPS; yields whether its daemon is there."""
    if not shutil.which(MPS):
        yield False
        return
    with tempfile.TemporaryDirectory() as folder:
        own = {"CUDA_MPS_PIPE_DIRECTORY": folder, "CUDA_MPS_LOG_DIRECTORY": folder}
        started = subprocess.run([MPS, "-d"], env={**os.environ, **own}, check=False)
        before = {name: os.environ.get(name) for name in own}
        os.environ.update(own if started.returncode == 0 else {})
        try:
            yield started.returncode == 0
        finally:
            subprocess.run([MPS], input="quit\n", text=True, env={**os.environ, **own}, check=False)
            for name, value in before.items():
                os.environ.pop(name, None) if value is None else os.environ.update({name: value})
