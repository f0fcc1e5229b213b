"""Augmentation in batches, as a GPU does it: the same policies as a CPU's, in distribution. It runs on a CPU, too."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from trainables.augment import build_augmentation
from trainables.device_augment import augment, draw
from trainables.policies import POLICIES, Affine, Policy

SIZE, COUNT = 96, 250
NAMES = [name for name in POLICIES if name != "none"]


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    """An image with a smooth bright lesion on a gradient, and its mask: uint8 [S,S]."""
    image = np.tile(np.linspace(30, 110, SIZE), (SIZE, 1))
    mask = np.zeros((SIZE, SIZE), np.uint8)
    cv2.ellipse(mask, (38, 55), (22, 12), 30, 0, 360, 1, -1)
    return (image + 90 * mask).astype(np.uint8), mask


def on_device(name: str, pair: tuple[np.ndarray, np.ndarray], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """COUNT draws of a pair, [COUNT,S,S]."""
    images, masks = (torch.from_numpy(one).expand(COUNT, 1, SIZE, SIZE) for one in pair)
    drawn = draw(POLICIES[name], COUNT, SIZE, (seed, 0))
    found = augment(POLICIES[name], images, masks, drawn, torch.Generator().manual_seed(seed))
    return found[0][:, 0].numpy(), found[1][:, 0].numpy()


def on_cpu(name: str, pair: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    one = build_augmentation(name, SIZE)
    images, masks = zip(*(one(*pair, seed) for seed in range(COUNT)), strict=True)
    return np.stack(images), np.stack(masks)


def statistics(images: np.ndarray, masks: np.ndarray) -> dict[str, np.ndarray]:
    """What a policy changes, a number an image: where the lesion is and how large, how bright, how rough."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    area = masks.sum((1, 2))
    rough = images.astype(np.float64) - np.stack([cv2.GaussianBlur(one, (3, 3), 0) for one in images])
    moments = [(masks * place).sum((1, 2)) / np.maximum(area, 1) for place in (rows, columns)]
    spread = [
        np.sqrt((masks * (place - mean[:, None, None]) ** 2).sum((1, 2)) / np.maximum(area, 1))
        for place, mean in zip((rows, columns), moments, strict=True)
    ]
    return {
        **{"area": area, "row": moments[0], "column": moments[1], "height": spread[0], "width": spread[1]},
        **{"brightness": images.mean((1, 2)), "contrast": images.std((1, 2)), "roughness": rough.std((1, 2))},
    }


@pytest.mark.parametrize("name", NAMES)
def test_the_same_distributions_as_on_a_cpu(name: str, pair: tuple[np.ndarray, np.ndarray]) -> None:
    here, there = statistics(*on_device(name, pair)), statistics(*on_cpu(name, pair))
    for what, values in here.items():
        other = there[what]
        # Five standard errors of a mean of COUNT draws, and a hundredth for what one resampling blurs less than two.
        error = np.hypot(values.std(), other.std()) / np.sqrt(COUNT)
        assert abs(values.mean() - other.mean()) < 5 * error + 0.01 * abs(other.mean()), what
        if other.std() > 0.02 * abs(other.mean()):
            assert values.std() == pytest.approx(other.std(), rel=0.25), what


@pytest.mark.parametrize(
    ("part", "grain"),
    [
        (Policy(elastic=1.0), 4.0),
        (Policy(blur=1.0), 0.0),
        (Policy(affine=Affine((1.0, 1.0), 0.0, 0.0, p=1.0, shear=20)), 4.0),
        (Policy(affine=Affine((0.6, 1.0), 0.0, 0.0, p=1.0)), 4.0),
    ],
    ids=["elastic", "blur", "shear", "zoom"],
)
def test_each_part_changes_as_much_as_on_a_cpu(part: Policy, grain: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts that a whole policy hides: how far a texture of this grain (0: white noise) is from what it was."""
    monkeypatch.setitem(POLICIES, "part", part)
    noise = np.random.default_rng(0).normal(size=(SIZE, SIZE))
    noise = cv2.GaussianBlur(noise, (0, 0), grain) if grain else noise
    texture = (128 + 40 * noise / noise.std()).clip(0, 255).astype(np.uint8)
    pair = texture, (texture > 128).astype(np.uint8)
    inside = np.s_[:, 12:-12, 12:-12]
    found = [
        [np.abs(new[inside].astype(float) - old[inside[1:]]).mean() for new, old in zip(both, pair, strict=True)]
        for both in (on_device("part", pair), on_cpu("part", pair))
    ]
    assert found[0] == pytest.approx(found[1], rel=0.06)


@pytest.mark.parametrize("name", NAMES)
def test_masks_stay_two_valued_and_on_their_images(name: str) -> None:
    mask = np.zeros((SIZE, SIZE), np.uint8)
    cv2.ellipse(mask, (38, 55), (25, 14), 30, 0, 360, 1, -1)
    images, masks = on_device(name, (mask * 255, mask))
    assert set(np.unique(masks)) == {0, 1}
    overlaps = []
    for image, moved in zip(images, masks, strict=True):
        image = cv2.medianBlur(image, 3)
        bright = image > (int(image.min()) + int(image.max())) / 2
        overlaps.append((bright & (moved > 0)).sum() / max(1, (bright | (moved > 0)).sum()))
    assert np.mean(overlaps) > 0.95


def test_nothing_drawn_changes_nothing(pair: tuple[np.ndarray, np.ndarray]) -> None:
    """With probabilities of 0 each row is the identity, down to the pixel."""
    strong = POLICIES["strong"]
    assert strong.affine
    never = replace(
        strong,
        **{"horizontal": 0.0, "elastic": 1e-12, "blur": 1e-12},
        **{name: replace(getattr(strong, name), p=0.0) for name in ("affine", "tone", "gamma", "noise")},
    )
    images, masks = (torch.from_numpy(one).expand(4, 1, SIZE, SIZE) for one in pair)
    found = augment(never, images, masks, draw(never, 4, SIZE, (0, 0)), torch.Generator().manual_seed(0))
    assert torch.equal(found[0], images)
    assert torch.equal(found[1], masks)


def test_seed_and_epoch_decide(pair: tuple[np.ndarray, np.ndarray]) -> None:
    np.testing.assert_array_equal(on_device("strong", pair)[0], on_device("strong", pair)[0])
    assert (on_device("strong", pair)[0] != on_device("strong", pair, seed=1)[0]).any()
    one, next_epoch = (draw(POLICIES["strong"], 3, SIZE, (0, epoch)) for epoch in (0, 1))
    assert not torch.equal(one.theta, next_epoch.theta)
