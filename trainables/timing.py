"""How long this machine takes to train."""

from __future__ import annotations

import time

from trainables.training import Training


def seconds_per_image(training: Training, images: int = 16) -> float:
    """Seconds to train on one image, of an epoch of so many; nothing else can be done with the training then."""
    training.training_masks = training.training_masks[:images]
    training.train_epoch()  # the first pass pays for allocation and primitives
    started = time.perf_counter()
    training.train_epoch()
    return (time.perf_counter() - started) / len(training.training_masks)
