"""Batches from prepared data: augmented in threads, ahead of the device, the same whatever the number of threads."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from trainables.data.manifest import UNKNOWN
from trainables.data.prepared import Prepared

#: (image uint8 [H, W], mask uint8 [H, W], seed) -> (image, mask)
Augmentation = Callable[[np.ndarray, np.ndarray, int], tuple[np.ndarray, np.ndarray]]


class Batch(NamedTuple):
    """A batch on the device: images and masks uint8 [B, 1, H, W], labels int64 [B].

    `has_mask`, bool [B], lies on the host, which asks it what to compute: asked on a GPU, it would have to wait.
    """

    images: Tensor
    masks: Tensor
    labels: Tensor
    has_mask: Tensor

    def moved(self, move: Callable[[Tensor], Tensor]) -> Batch:
        """With what lies on the device moved."""
        return Batch(move(self.images), move(self.masks), move(self.labels), self.has_mask)

    def split(self, most: int) -> list[Batch]:
        """In order, parts of near equal size of at most `most` images; of 3 where `most` is 2 and one would be left."""
        count = len(self.images)
        parts = max(1, min(math.ceil(count / most), count // 2))
        return [Batch(*tensors) for tensors in zip(*(tensor.tensor_split(parts) for tensor in self), strict=True)]


def sampling_order(
    data: Prepared,
    masks: np.ndarray,
    *,
    balance: str,
    seed: Sequence[int],
    image_weights: np.ndarray | None = None,
) -> np.ndarray:
    """Order in which an epoch visits the masks (int64 indices).

    Args:
        data: prepared data.
        masks: indices of the masks to train on.
        balance: `sampler` draws with replacement, each class as often as the others, as many as there are masks;
            `oversample` visits every mask, and those of smaller classes again until all classes are as large as the
            largest; anything else visits each mask once.
        seed: seeds the order; (seed of the trial, epoch).
        image_weights: float64 [N]; draw with replacement in proportion to these, as many as there are masks, and the
            classes alike under `sampler` and `oversample`.
    """
    rng = np.random.default_rng(seed)
    labels = data.labels[data.mask_image[masks]]
    classes, which, counts = np.unique(labels, return_inverse=True, return_counts=True)
    # Unknown is no class to balance: such an image is seen as often as one of the largest class.
    known = counts[classes != UNKNOWN]
    largest = known.max() if len(known) else counts.max()
    if balance == "sampler" or image_weights is not None:
        weights = 1 / np.where(classes == UNKNOWN, largest, counts)[which]
        if image_weights is not None:
            weights = image_weights[data.mask_image[masks]] * (weights if balance in ("sampler", "oversample") else 1)
        return rng.choice(masks, size=len(masks), p=weights / weights.sum())
    if balance == "oversample":
        # Whole rounds first, so that no image of a small class is seen much more often than another.
        wanted = np.where(classes == UNKNOWN, counts, largest)
        rounds = [
            np.resize(rng.permutation(masks[labels == c]), count) for c, count in zip(classes, wanted, strict=True)
        ]
        return rng.permutation(np.concatenate(rounds))
    return rng.permutation(masks)


def batch_bounds(count: int, batch_size: int, *, joined: bool) -> list[tuple[int, int]]:
    """Where the batches of an epoch begin and end; `joined`: a last batch of one goes with the one before."""
    starts = list(range(0, count, batch_size))
    if joined and len(starts) > 1 and count % batch_size == 1:
        starts.pop()
    return list(zip(starts, [*starts[1:], count], strict=True))


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
    bounds = batch_bounds(len(masks), batch_size, joined=augmentation is not None)
    seeds = np.random.SeedSequence(list(seed)).generate_state(max(len(masks), 1))

    def assemble(start: int, stop: int) -> Batch:
        chunk = masks[start:stop]
        rows = data.mask_image[chunk]
        if augmentation is None:
            images, targets = data.images[rows], data.masks[chunk]
        else:
            pairs = [
                augmentation(data.images[row], data.masks[mask], int(seeds[start + i]))
                for i, (row, mask) in enumerate(zip(rows, chunk, strict=True))
            ]
            images, targets = np.stack([image for image, _ in pairs]), np.stack([mask for _, mask in pairs])
        arrays = images[:, None], targets[:, None], data.labels[rows], data.has_mask[rows]
        batch = Batch(*(torch.from_numpy(array) for array in arrays))
        return batch.moved(Tensor.pin_memory) if device.type == "cuda" else batch

    with ThreadPoolExecutor(workers) as pool:
        pending: deque[Future[Batch]] = deque()
        for start, stop in bounds:
            pending.append(pool.submit(assemble, start, stop))
            if len(pending) > 2 * workers:
                yield _to(pending.popleft().result(), device)
        while pending:
            yield _to(pending.popleft().result(), device)


def _to(batch: Batch, device: torch.device) -> Batch:
    return batch.moved(lambda tensor: tensor.to(device, non_blocking=True))
