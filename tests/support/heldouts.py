"""Held-out predictions that were made up, so that the right answer is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from scipy.ndimage import gaussian_filter

from orchestrator.ensemble.held_out import OutOfFoldPredictions
from orchestrator.scoring.packed_masks import PackedMasks
from trainables.data.pixels import resize_mask

#: `independent`: candidates alike in skill, each with errors of its own. `complementary`: the first candidate alone
#: tells what the others do not, and these share their errors. `one good`: candidate 1 among noise.
Kind = Literal["independent", "complementary", "one good"]

SIZE = 24


def classification(
    seed: int = 0, n: int = 200, candidates: int = 4, kind: Kind = "independent", trained: int = 0, skill: float = 1.5
) -> OutOfFoldPredictions:
    """Three classes. Complementary: the first candidate tells benign from malignant, the others what is normal.

    `trained` members follow the candidates; they are right where the candidates are as good as guessing.
    """
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, n, p=[0.25, 0.45, 0.3])
    signal = 2 * np.eye(3)[labels] - 1
    noise = _noise(rng, kind, candidates, (n, 3))
    if kind == "complementary":
        lesion = np.array([-0.5, 0.25, 0.25]) * np.where(labels == 0, -2, 2)[:, None]
        sign = np.where(labels == 2, 1, -1) * (labels > 0)
        signals = [sign[:, None] * np.array([0, -0.5, 0.5])] + [lesion] * (candidates - 1)
    else:
        signals = [signal * share / 2 for share in _shares(kind, candidates)]
    logits = np.stack([skill * part + error for part, error in zip(signals, noise, strict=True)])
    extra = [skill * signal / 2 - logits.mean(0) + skill * signal / 2 for _ in range(trained)]
    base = _base(rng, labels, candidates + trained, candidates)
    return replace(base, targets=labels, class_logits=np.concatenate([logits, *[e[None] for e in extra]]).astype("f4"))


def segmentation(
    seed: int = 0, n: int = 40, candidates: int = 3, kind: Kind = "independent", trained: int = 0, skill: float = 2.0
) -> OutOfFoldPredictions:
    """Planes of 24 pixels, originals of 30 to 60: one ellipse, none in normals; trained members know it well.

    Complementary: the first candidate sees the left half of an image, the others its right half.
    """
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, n, p=[0.25, 0.45, 0.3])
    originals = [_ellipse(rng, label > 0) for label in labels]
    truth = np.stack([resize_mask(mask, SIZE, False) for mask in originals])
    signal = 2 * gaussian_filter(truth.astype(np.float32), (0, 0.8, 0.8)) - 1
    signal[labels == 0] *= 2  # so that a threshold is chosen by outlines more than by a single pixel in a normal
    noise = _noise(rng, kind, candidates, (n, SIZE, SIZE))
    if kind == "complementary":
        left = np.arange(SIZE) < SIZE // 2
        signals = [np.where(left, signal, -0.2)] + [np.where(left, -0.2, signal)] * (candidates - 1)
    else:
        signals = [signal * share for share in _shares(kind, candidates)]
    planes = [skill * part + error for part, error in zip(signals, noise, strict=True)]
    planes += [2 * skill * signal + rng.normal(size=signal.shape) for _ in range(trained)]
    return replace(
        _base(rng, labels, candidates + trained, candidates),
        planes=np.stack(planes).astype(np.float16),
        has_mask=np.ones(n, bool),
        truth=truth,
        originals=PackedMasks(originals),
    )


def multi(
    seed: int = 0, n: int = 60, candidates: int = 3, kind: Kind = "independent", trained: int = 0
) -> OutOfFoldPredictions:
    """The masks of `segmentation`, with class logits of the same kind for the same images."""
    masks = segmentation(seed, n, candidates, kind, trained)
    rng = np.random.default_rng(seed + 1)
    shares = [*_shares("independent" if kind == "complementary" else kind, candidates), *[2.0] * trained]
    signal = 1.5 * np.eye(3)[masks.labels]
    logits = np.stack([share * signal + rng.normal(size=signal.shape) for share in shares])
    return replace(masks, targets=masks.labels, class_logits=logits.astype(np.float32))


def of_members(
    held_out: OutOfFoldPredictions, members: list[int], candidates: int | None = None
) -> OutOfFoldPredictions:
    """These members alone, as often as they are named; all of them are candidates unless told."""
    return replace(
        held_out,
        names=tuple(f"member {i}" for i in range(len(members))),
        candidates=len(members) if candidates is None else candidates,
        class_logits=None if held_out.class_logits is None else held_out.class_logits[members],
        planes=None if held_out.planes is None else held_out.planes[members],
    )


def _base(rng: np.random.Generator, labels: np.ndarray, members: int, candidates: int) -> OutOfFoldPredictions:
    """Nothing but the rows: groups of one or two images, and a fold for each group."""
    n = len(labels)
    groups = np.arange(n) * 2 // 3
    folds = rng.permutation(groups.max() + 1)[groups] % 5
    return OutOfFoldPredictions(
        names=tuple(f"member {i}" for i in range(members)),
        candidates=candidates,
        class_logits=None,
        planes=None,
        targets=np.full(n, -1),
        has_mask=np.zeros(n, bool),
        truth=None,
        originals=None,
        keep_aspect=False,
        shape=None,
        labels=labels,
        groups=groups,
        folds=folds,
        compared=folds > 0,
        digests=tuple(f"{i:064x}" for i in range(n)),
    )


def _shares(kind: Kind, candidates: int) -> list[float]:
    """How much of the truth is in each candidate's logits."""
    return [1.0] * candidates if kind == "independent" else [float(i == 1) for i in range(candidates)]


def _noise(rng: np.random.Generator, kind: Kind, candidates: int, shape: tuple[int, ...]) -> list[np.ndarray]:
    shared = rng.normal(size=shape)
    if kind != "complementary":
        return [rng.normal(size=shape) for _ in range(candidates)]
    return [rng.normal(size=shape)] + [0.95 * shared + 0.3 * rng.normal(size=shape) for _ in range(candidates - 1)]


def _ellipse(rng: np.random.Generator, lesion: bool) -> np.ndarray:
    """Bool [H,W] of a size of its own."""
    height, width = (int(side) for side in rng.integers(30, 61, 2))
    y, x = np.mgrid[:height, :width]
    top, left, tall, wide = rng.uniform(0.3, 0.7, 2).tolist() + rng.uniform(0.12, 0.25, 2).tolist()
    inside = ((y + 0.5) / height - top) ** 2 / tall**2 + ((x + 0.5) / width - left) ** 2 / wide**2 < 1
    return inside & lesion
