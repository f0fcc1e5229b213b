"""Batches on a GPU that holds the images itself: nothing is uploaded in a step, and nothing waited for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trainables.batches import Batch, batch_bounds
from trainables.data.prepared import Prepared
from trainables.device_augment import augment, draw
from trainables.devices import upload
from trainables.policies import Policy

#: Bytes of images and masks up to which a GPU holds them, once for each process that trains on it. A fixed number: the
#: same data take the same way on every card.
MOST = 2 * 2**30


def lives_on(device: torch.device, data: Prepared) -> bool:
    """Whether images live on the device and are augmented there; else the host prepares batches."""
    return device.type == "cuda" and data.images.nbytes + data.masks.nbytes <= MOST


@dataclass(frozen=True)
class DeviceImages:
    """All of a prepared data set on a device: images uint8 [N,S,S], masks uint8 [M,S,S], labels int64 [N].

    `mask_image` [M] and `has_mask` [N] stay on the host, where the order of an epoch is made.
    """

    images: Tensor
    masks: Tensor
    labels: Tensor
    data: Prepared

    def batches(
        self, masks: np.ndarray, *, batch_size: int, policy: Policy | None = None, seed: Sequence[int] = (0,)
    ) -> Iterator[Batch]:
        """Yield batches in the order of `masks` (int64); augmented where there is a policy, as in training."""
        device, rows = self.images.device, self.data.mask_image[masks]
        has_mask = torch.from_numpy(self.data.has_mask[rows])
        which, whose = (upload(torch.from_numpy(np.asarray(index, np.int64)), device) for index in (masks, rows))
        generator = torch.Generator(device).manual_seed(int(np.random.SeedSequence(list(seed)).generate_state(1)[0]))
        table = draw(policy, len(masks), self.images.shape[-1], seed).to(device) if policy else None
        for start, stop in batch_bounds(len(masks), batch_size, joined=policy is not None):
            images, targets = self.images[whose[start:stop]][:, None], self.masks[which[start:stop]][:, None]
            if policy and table:
                images, targets = augment(policy, images, targets, table.rows(start, stop), generator)
            yield Batch(images, targets, self.labels[whose[start:stop]], has_mask[start:stop])


_held: dict[torch.device, DeviceImages] = {}


def device_images(data: Prepared, device: torch.device) -> DeviceImages:
    """The data on the device, there until other data take their place: trials of a process share them."""
    held = _held.get(device)
    if held is None or held.data.prepared_fingerprint != data.prepared_fingerprint:
        _held.pop(device, None)
        images, masks, labels = (
            torch.from_numpy(np.array(x)).to(device) for x in (data.images, data.masks, data.labels)
        )
        held = _held[device] = DeviceImages(images, masks, labels, data)
    return held
