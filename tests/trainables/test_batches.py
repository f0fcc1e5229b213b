"""What an epoch draws: classes alike, every image, in order, never one alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from trainables.batches import batches, sampling_order
from trainables.data import Prepared

CPU = torch.device("cpu")


def test_unknown_is_not_balanced_as_a_class(prepared: Prepared) -> None:
    labels = prepared.labels.copy()
    masks = prepared.training_masks(prepared.fold_rows(0)[0])
    labels[masks[0]] = -1
    data = replace(prepared, labels=labels)
    order = sampling_order(data, masks, balance="oversample", seed=(0, 1))
    assert (order == masks[0]).sum() == 1
    many = np.tile(masks, 100)
    drawn = sampling_order(data, many, balance="sampler", seed=(0, 1))
    assert (drawn == masks[0]).mean() < 0.06


def test_balanced_sampling_draws_classes_alike(prepared: Prepared) -> None:
    masks = np.tile(prepared.training_masks(prepared.fold_rows(0)[0]), 50)
    drawn = prepared.labels[sampling_order(prepared, masks, balance="sampler", seed=(0, 1))]
    shares = np.bincount(drawn) / len(drawn)
    np.testing.assert_allclose(shares, 1 / 3, atol=0.04)
    plain = sampling_order(prepared, masks, balance="none", seed=(0, 1))
    np.testing.assert_array_equal(np.sort(plain), np.sort(masks))


def test_oversampling_shows_every_image_and_small_classes_again(prepared: Prepared) -> None:
    masks = prepared.training_masks(prepared.fold_rows(0)[0])
    order = sampling_order(prepared, masks, balance="oversample", seed=(0, 1))
    counts = np.bincount(prepared.labels[masks])
    np.testing.assert_array_equal(np.bincount(prepared.labels[order]), counts.max())
    seen = np.bincount(order, minlength=len(prepared.images))[masks]
    for label, count in enumerate(counts):
        often = seen[prepared.labels[masks] == label]
        assert often.min() >= 1
        assert often.max() - often.min() <= 1 + (counts.max() % count == 0)


def test_batches_are_in_order_and_never_of_one(prepared: Prepared) -> None:
    masks = np.arange(17)
    sizes = [len(b[0]) for b in batches(prepared, masks, batch_size=8, device=CPU, augmentation=lambda i, m, s: (i, m))]
    assert sizes == [8, 9]
    found = torch.cat([b[0] for b in batches(prepared, masks, batch_size=8, device=CPU, workers=2)])
    np.testing.assert_array_equal(found[:, 0].numpy(), prepared.images[:17])
