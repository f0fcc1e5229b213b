"""Batches from prepared data: augmented in threads, ahead of the device, the same whatever the number of threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from trainables.data import Prepared

#: (image uint8 [H, W], mask uint8 [H, W], seed) -> (image, mask)
Augmentation = Callable[[np.ndarray, np.ndarray, int], tuple[np.ndarray, np.ndarray]]
#: images uint8 [B, 1, H, W], masks uint8 [B, 1, H, W], labels int64 [B], all on the device.
Batch = tuple[Tensor, Tensor, Tensor]


def sampling_order(data: Prepared, masks: np.ndarray, *, balance: bool, seed: Sequence[int]) -> np.ndarray:
    """Order in which an epoch visits the masks (int64 indices), each once, or drawn so that every class is as frequent.

    Args:
        data: prepared data.
        masks: indices of the masks to train on.
        balance: draw with replacement, each class with the same probability.
        seed: seeds the order; (seed of the trial, epoch).
    """
    rng = np.random.default_rng(seed)
    if not balance:
        return rng.permutation(masks)
    labels = data.labels[data.mask_image[masks]]
    _, which, counts = np.unique(labels, return_inverse=True, return_counts=True)
    weights = 1 / counts[which]
    return rng.choice(masks, size=len(masks), p=weights / weights.sum())


def batches(
    data: Prepared,
    masks: np.ndarray,
    *,
    batch_size: int,
    device: torch.device,
    augmentation: Augmentation | None = None,
    seed: Sequence[int] = (0,),
    workers: int = 1,
) -> Iterator[Batch]:
    """Yield batches in the order of `masks`, prepared by `workers` threads while the device works.

    In training a last batch of one image is joined to the one before: one sample has no batch statistics on 1 x 1 maps.
    """
    starts = list(range(0, len(masks), batch_size))
    if len(starts) > 1 and len(masks) % batch_size == 1 and augmentation is not None:
        starts.pop()
    chunks = [masks[start:stop] for start, stop in zip(starts, [*starts[1:], len(masks)], strict=True)]
    seeds = np.random.SeedSequence(list(seed)).generate_state(max(len(masks), 1))

    def assemble(start: int, chunk: np.ndarray) -> Batch:
        rows = data.mask_image[chunk]
        if augmentation is None:
            images, targets = data.images[rows], data.masks[chunk]
        else:
            pairs = [
                augmentation(data.images[row], data.masks[mask], int(seeds[start + i]))
                for i, (row, mask) in enumerate(zip(rows, chunk, strict=True))
            ]
            images, targets = np.stack([image for image, _ in pairs]), np.stack([mask for _, mask in pairs])
        a, b = torch.from_numpy(images)[:, None], torch.from_numpy(targets)[:, None]
        c = torch.from_numpy(data.labels[rows])
        return (a.pin_memory(), b.pin_memory(), c.pin_memory()) if device.type == "cuda" else (a, b, c)

    with ThreadPoolExecutor(workers) as pool:
        pending: deque = deque()
        for start, chunk in zip(starts, chunks, strict=True):
            pending.append(pool.submit(assemble, start, chunk))
            if len(pending) > 2 * workers:
                yield _to(pending.popleft().result(), device)
        while pending:
            yield _to(pending.popleft().result(), device)


def _to(batch: Batch, device: torch.device) -> Batch:
    images, masks, labels = (tensor.to(device, non_blocking=True) for tensor in batch)
    return images, masks, labels
