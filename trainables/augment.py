"""Augmentation on a CPU: image and mask together, decided by a seed and nothing else.

The only file that knows albumentations.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable

# Before the import: it would ask the internet for a newer version.
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"

import albumentations as A
import cv2
import numpy as np

from trainables.policies import BLUR_WIDTHS, DISPLACEMENT, SMOOTHNESS, Affine, Policy, policy

#: (image uint8 [H,W], mask uint8 [H,W], seed) -> (image, mask), of the same shapes and dtypes.
Augmentation = Callable[[np.ndarray, np.ndarray, int], tuple[np.ndarray, np.ndarray]]


def build_augmentation(name: str, size: int) -> Augmentation:
    """The policy for images with a side of `size` pixels, safe to call from several threads.

    Raises:
        ValueError: unknown name.
    """
    chosen = policy(name)
    # A pipeline holds its random state: each thread has its own.
    own = threading.local()

    def augment(image: np.ndarray, mask: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        if not hasattr(own, "pipeline"):
            own.pipeline = A.Compose(_transforms(chosen, size))
        own.pipeline.set_random_state(np.random.default_rng(seed), random.Random(seed))
        augmented = own.pipeline(image=image, mask=mask)
        return augmented["image"], augmented["mask"]

    return augment


def _transforms(chosen: Policy, size: int) -> list[A.BasicTransform]:
    found: list[A.BasicTransform] = []
    if chosen.horizontal:
        found.append(A.HorizontalFlip(p=chosen.horizontal))
    if chosen.vertical:
        found.append(A.VerticalFlip(p=chosen.vertical))
    if chosen.affine:
        found.append(_affine(chosen.affine))
    if chosen.elastic:
        found.append(_elastic(size, chosen.elastic))
    if chosen.tone:
        found.append(A.RandomBrightnessContrast(chosen.tone.brightness, chosen.tone.contrast, p=chosen.tone.p))
    if chosen.gamma:
        found.append(A.RandomGamma((100 * chosen.gamma.low, 100 * chosen.gamma.high), p=chosen.gamma.p))
    if chosen.noise:
        found.append(A.GaussNoise(std_range=(chosen.noise.low, chosen.noise.high), p=chosen.noise.p))
    if chosen.blur:
        found.append(A.GaussianBlur(BLUR_WIDTHS, p=chosen.blur))
    return found


def _affine(drawn: Affine) -> A.Affine:
    """Masks by nearest neighbour, the default."""
    return A.Affine(
        scale=drawn.zoom,
        translate_percent=(-drawn.shift, drawn.shift),
        rotate=(-drawn.rotate, drawn.rotate),
        shear=(-drawn.shear, drawn.shear),
        border_mode=cv2.BORDER_REFLECT_101,
        p=drawn.p,
        keep_ratio=drawn.keep_ratio,
    )


def _elastic(size: int, p: float) -> A.ElasticTransform:
    """A uniform field on -1..1 blurred by a Gaussian of sigma has standard deviation .163 / sigma."""
    sigma = SMOOTHNESS * size
    return A.ElasticTransform(
        alpha=DISPLACEMENT * size * sigma / 0.163,
        sigma=sigma,
        noise_distribution="uniform",
        border_mode=cv2.BORDER_REFLECT_101,
        p=p,
    )
