from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from search_spaces.seg import AUGMENTATIONS
from trainables.augment import build_augmentation
from trainables.policies import POLICIES

SIZE = 96
NAMES = tuple(POLICIES)


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    """An image of bright shapes on black, read-only as Ray's object store gives it, and its thresholded self."""
    image = np.zeros((SIZE, SIZE), np.uint8)
    cv2.ellipse(image, (40, 55), (25, 12), 30, 0, 360, 255, -1)
    cv2.rectangle(image, (60, 10), (80, 22), 255, -1)
    mask = (image > 127).astype(np.uint8)
    image.flags.writeable = mask.flags.writeable = False
    return image, mask


def test_the_search_space_offers_these_policies() -> None:
    assert set(AUGMENTATIONS) == set(POLICIES)


@pytest.mark.parametrize("name", NAMES)
def test_masks_stay_two_valued_and_on_their_images(name: str, pair: tuple[np.ndarray, np.ndarray]) -> None:
    augment = build_augmentation(name, SIZE)
    overlaps = []
    for seed in range(60):
        image, mask = augment(*pair, seed)
        assert image.shape == mask.shape == (SIZE, SIZE)
        assert image.dtype == mask.dtype == np.uint8
        assert set(np.unique(mask)) <= {0, 1}
        image = cv2.medianBlur(image, 3)
        bright = image > (int(image.min()) + int(image.max())) / 2
        overlaps.append((bright & (mask > 0)).sum() / max(1, (bright | (mask > 0)).sum()))
    # A pixel more or less along the outline of the small shape; a mask left behind would score about .3.
    assert np.mean(overlaps) > 0.95
    assert min(overlaps) > 0.8


@pytest.mark.parametrize("name", [name for name in NAMES if name != "none"])
def test_seeds_decide(name: str, pair: tuple[np.ndarray, np.ndarray]) -> None:
    augment, again = build_augmentation(name, SIZE), build_augmentation(name, SIZE)
    results = [augment(*pair, seed) for seed in range(20)]
    for seed in reversed(range(20)):
        np.testing.assert_array_equal(again(*pair, seed), results[seed])
    assert len({image.tobytes() for image, _ in results}) > 10


@pytest.mark.parametrize("name", NAMES)
def test_threads_give_what_one_thread_gives(name: str, pair: tuple[np.ndarray, np.ndarray]) -> None:
    augment = build_augmentation(name, SIZE)
    serial = [augment(*pair, seed) for seed in range(120)]
    with ThreadPoolExecutor(4) as pool:
        threaded = list(pool.map(lambda seed: augment(*pair, seed), range(120)))
    np.testing.assert_array_equal(threaded, serial)


def test_none_changes_nothing(pair: tuple[np.ndarray, np.ndarray]) -> None:
    np.testing.assert_array_equal(build_augmentation("none", SIZE)(*pair, 3), pair)


def test_masks_of_255_stay_masks_of_255(pair: tuple[np.ndarray, np.ndarray]) -> None:
    augment = build_augmentation("strong", SIZE)
    assert {value for seed in range(30) for value in np.unique(augment(pair[0], pair[1] * 255, seed)[1])} == {0, 255}


def test_an_unknown_policy_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'wild'.*none, light"):
        build_augmentation("wild", SIZE)
