from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from orchestrator.ensemble.combiners.mask_threshold import (
    THRESHOLDS,
    best_threshold,
    counts_above,
    original_counts,
    threshold_counts,
)
from orchestrator.scoring.packed_masks import PackedMasks
from orchestrator.scoring.values import dice_by_image
from tests.support.heldouts import segmentation
from trainables.data.pixels import to_original_size
from trainables.metrics.seg import confusion_counts, segmentation_scores


def _counts(predicted: np.ndarray, truth: np.ndarray) -> list[int]:
    return confusion_counts(torch.from_numpy(predicted)[None, None], torch.from_numpy(truth)[None, None])[0].tolist()


@pytest.mark.parametrize("seed", range(3))
def test_counts_are_those_of_cutting_at_every_threshold(seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits, truth = rng.normal(0, 3, (31, 47)).astype(np.float32), rng.random((31, 47)) < 0.3
    logits[:5] = rng.choice(THRESHOLDS, (5, 47))  # a pixel at a threshold is not above it
    logits[5, :4] = [1e-30, -1e-30, 1e30, -1e30]
    expected = [_counts(logits > threshold, truth) for threshold in THRESHOLDS]
    np.testing.assert_array_equal(threshold_counts(logits, truth), expected)


def test_thresholds_have_zero_in_the_middle() -> None:
    assert (THRESHOLDS[0], THRESHOLDS[len(THRESHOLDS) // 2], THRESHOLDS[-1]) == (-4, 0, 4)


@pytest.mark.parametrize("keep_aspect", [False, True])
def test_planes_are_counted_at_each_images_own_size(keep_aspect: bool) -> None:
    held_out = replace(segmentation(n=6), keep_aspect=keep_aspect)
    held_out.has_mask[2] = False
    planes = held_out.planes[0].astype(np.float32)
    counts = original_counts(planes, held_out)
    assert counts.shape == (6, len(THRESHOLDS), 3)
    for row in range(6):
        truth = held_out.originals[row]
        logits = to_original_size(planes[row], *truth.shape, keep_aspect=keep_aspect)
        for index in (0, 30, 64):
            expected = [0, 0, 0] if row == 2 else _counts(logits > THRESHOLDS[index], truth)
            assert counts[row, index].tolist() == expected
            assert counts_above(float(THRESHOLDS[index]), planes, held_out)[row].tolist() == expected


def test_the_best_threshold_has_the_largest_dice_all_where_lesions_lose_nothing() -> None:
    held_out = segmentation()
    counts = original_counts(held_out.planes.astype(np.float32).mean(0) + 1, held_out)
    scores = [segmentation_scores(torch.from_numpy(counts[:, i]))["dice_all"] for i in range(len(THRESHOLDS))]
    found = best_threshold(counts)
    assert scores[found] == pytest.approx(max(scores))
    assert 0.5 < THRESHOLDS[found] < 2.5
    assert scores[found] > scores[len(THRESHOLDS) // 2]


def test_of_thresholds_as_good_the_one_nearest_to_zero_is_taken() -> None:
    truth = np.zeros((24, 24), bool)
    truth[5:9, 5:9] = True
    held_out = replace(segmentation(n=1), originals=PackedMasks([truth]))
    for inside, outside, expected in ((3.0, -3.0, 0.0), (3.0, 1.0, 1.0), (-1.0, -3.0, -1.125), (9.0, 8.0, 0.0)):
        plane = np.where(truth, inside, outside).astype(np.float32)
        assert THRESHOLDS[best_threshold(original_counts([plane], held_out))] == expected
    unknown = replace(held_out, has_mask=np.array([False]))
    assert THRESHOLDS[best_threshold(original_counts([np.zeros((24, 24), np.float32)], unknown))] == 0


def test_a_weak_model_beside_many_normals_keeps_its_lesions() -> None:
    """Half of a lesion is found, and every normal has a false alarm: an empty mask has the largest `dice_all`."""
    lesion = np.tile([[50, 50, 50]], (len(THRESHOLDS), 1))
    normal = np.tile([[0, 40, 0]], (len(THRESHOLDS), 1))
    above = THRESHOLDS > 1
    lesion[above] = [0, 0, 100]
    normal[above] = 0
    counts = np.stack([lesion, *[normal] * 9])
    assert dice_by_image(counts[:, -1]).mean() > dice_by_image(counts[:, 0]).mean()
    assert THRESHOLDS[best_threshold(counts)] == 0
    assert THRESHOLDS[best_threshold(counts[1:])] > 1, "without a lesion there is nothing to keep"
