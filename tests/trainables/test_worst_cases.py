"""Which images are shown as worst, on masks and probabilities whose order is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from trainables.data import Prepared
from trainables.tasks import make_task
from trainables.tasks.outlines import IMAGES, NORMALS, TRUTH, confident_errors, draw_outlines, lowest_dice


def _said(prepared: Prepared, rows: np.ndarray) -> np.ndarray:
    """Mask logits that are right: 1 where there is lesion, else -1."""
    return np.where(prepared.masks[rows] > 0, 1.0, -1.0).astype(np.float32)[:, None]


def test_lowest_dice_comes_first_and_a_false_alarm_counts_zero(prepared: Prepared) -> None:
    lesions, normals = np.flatnonzero(prepared.labels > 0), np.flatnonzero(prepared.labels == 0)
    rows = np.concatenate([lesions[:4], normals[:2]])
    logits = _said(prepared, rows)
    logits[1] = -1  # misses a lesion
    half = np.flatnonzero(logits[2].ravel() > 0)
    logits[2].ravel()[half[: len(half) // 2]] = -1  # half of a lesion: Dice 2/3
    logits[4] = 1  # a false alarm on all of a normal image: more wrong pixels than the missed lesion has
    worst, dice = lowest_dice(prepared, rows, logits)
    assert worst[:3].tolist() == [4, 1, 2]
    assert dice[:2].tolist() == [0.0, 0.0]
    assert abs(dice[2] - 2 / 3) < 0.01
    assert dice[3:].tolist() == [1.0] * 3


def test_false_alarms_leave_room_for_lesions(prepared: Prepared) -> None:
    rows = np.concatenate([np.flatnonzero(prepared.labels == 0), np.flatnonzero(prepared.labels > 0)[:10]])
    normals = int((prepared.labels == 0).sum())
    assert normals > NORMALS
    worst, dice = lowest_dice(prepared, rows, np.ones_like(_said(prepared, rows)))
    assert (worst < normals).sum() == NORMALS
    assert len(worst) == IMAGES
    assert np.array_equal(dice, np.sort(dice))


def test_an_image_of_unknown_mask_is_not_judged(prepared: Prepared) -> None:
    rows = np.flatnonzero(prepared.labels > 0)[:3]
    known = prepared.has_mask.copy()
    known[rows[0]] = False
    worst, _ = lowest_dice(replace(prepared, has_mask=known), rows, _said(prepared, rows) * 0 - 1)
    assert sorted(worst.tolist()) == [1, 2]


def test_confident_errors_are_the_surest_wrong_ones() -> None:
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.7, 0.3]])
    assert confident_errors(probabilities, np.array([0, 0, 0, 1])).tolist() == [1, 3, 2]
    assert confident_errors(probabilities, probabilities.argmax(1)).tolist() == []
    assert len(confident_errors(np.tile([0.6, 0.4], (50, 1)), np.ones(50, np.int64))) == IMAGES


def test_worst_cases_of_a_task_are_drawn_from_its_outputs(prepared: Prepared) -> None:
    rows = np.flatnonzero(prepared.labels > 0)[:5]
    logits = _said(prepared, rows)
    logits[3] = -1
    figures = make_task("seg").figures(prepared, rows, logits)
    drawn = figures["worst_cases"]
    alone = draw_outlines(prepared, rows[[3]], logits[[3]], ["0.00"])
    first = (slice(20, 276), slice(0, 256))
    assert np.array_equal(drawn[first], alone[first])
    assert (drawn[first] == TRUTH).all(-1).any()
