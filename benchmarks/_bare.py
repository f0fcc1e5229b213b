"""The limit: trials one after another in a bare process, imports and data loaded; no Ray, no Optuna, no MLflow."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import cv2
import torch

from benchmarks._work import configuration, prepared
from trainables.training import Training


def run(folder: str, epochs: int, seeds: list[int]) -> None:
    """Warm up, print `ready`, wait for a line on stdin, then train a trial per seed and print when each ended."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    data = prepared(Path(folder))
    Training("seg", configuration(epochs, seed=0), data).train_epoch()
    print("ready", flush=True)
    sys.stdin.readline()
    for seed in seeds:
        training = Training("seg", configuration(epochs, seed), data)
        while training.epoch < epochs:
            training.train_epoch()
            training.evaluate()
        print(time.time(), flush=True)
