"""Augmentation policies by name: image and mask together, decided by a seed and nothing else.

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

#: (image uint8 [H,W], mask uint8 [H,W], seed) -> (image, mask), of the same shapes and dtypes.
Augmentation = Callable[[np.ndarray, np.ndarray, int], tuple[np.ndarray, np.ndarray]]


def _affine(
    zoom: tuple[float, float], shift: float, rotate: float, p: float, shear: float = 0.0, **options: bool
) -> A.Affine:
    """Zoom as factors, shift as a fraction of the side, angles in degrees. Masks by nearest neighbour (the default)."""
    return A.Affine(
        scale=zoom,
        translate_percent=(-shift, shift),
        rotate=(-rotate, rotate),
        shear=(-shear, shear),
        border_mode=cv2.BORDER_REFLECT_101,
        p=p,
        **options,
    )


def _elastic(size: int, p: float) -> A.ElasticTransform:
    """Tissue pressed by the probe: smooth over 4 % of the side, displaced by 1.5 to 2 % (one standard deviation).

    A uniform field on -1..1 blurred by a Gaussian of sigma has standard deviation .163 / sigma.
    """
    sigma = 0.04 * size
    return A.ElasticTransform(
        alpha=0.015 * size * sigma / 0.163,
        sigma=sigma,
        noise_distribution="uniform",
        border_mode=cv2.BORDER_REFLECT_101,
        p=p,
    )


def _none(size: int) -> list[A.BasicTransform]:
    return []


def _light(size: int) -> list[A.BasicTransform]:
    return [
        A.HorizontalFlip(p=0.5),
        _affine((0.9, 1.1), 0.06, 10, p=0.5, keep_ratio=True),
        A.RandomBrightnessContrast(0.1, 0.1, p=0.5),
    ]


def _medium(size: int) -> list[A.BasicTransform]:
    return [
        A.HorizontalFlip(p=0.5),
        _affine((0.8, 1.2), 0.1, 20, p=0.7, keep_ratio=True),
        A.RandomBrightnessContrast(0.2, 0.2, p=0.5),
        A.RandomGamma((70, 140), p=0.3),
        A.GaussNoise(std_range=(0.01, 0.04), p=0.2),
    ]


def _strong(size: int) -> list[A.BasicTransform]:
    return [
        A.HorizontalFlip(p=0.5),
        _affine((0.7, 1.4), 0.15, 30, p=0.9, shear=8),
        _elastic(size, p=0.2),
        A.RandomBrightnessContrast(0.2, 0.3, p=0.6),
        A.RandomGamma((60, 160), p=0.4),
        A.GaussNoise(std_range=(0.02, 0.08), p=0.3),
        A.GaussianBlur((3, 5), p=0.2),
    ]


def _aug_s(size: int) -> list[A.BasicTransform]:
    """AUG_S of the reference notebooks, Keras' ranges: rotation 90, shift .2, shear .3 (degrees), zoom .3, flips."""
    return [A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5), _affine((0.7, 1.3), 0.2, 90, p=1.0, shear=0.3)]


def _aug_a(size: int) -> list[A.BasicTransform]:
    """AUG_A of the reference notebooks: albumentations' ShiftScaleRotate, brightness and contrast, noise, flips."""
    return [
        A.HorizontalFlip(p=0.5),
        A.VerticalFlip(p=0.2),
        _affine((0.9, 1.1), 0.0625, 15, p=0.6, keep_ratio=True),
        A.RandomBrightnessContrast(p=0.5),
        # Variance 10 to 50 of 8 bits, the default of the release that the notebooks used.
        A.GaussNoise(std_range=(10**0.5 / 255, 50**0.5 / 255), p=0.3),
    ]


POLICIES: dict[str, Callable[[int], list[A.BasicTransform]]] = {
    "none": _none,
    "light": _light,
    "medium": _medium,
    "strong": _strong,
    "aug_s": _aug_s,
    "aug_a": _aug_a,
}


def build_augmentation(name: str, size: int) -> Augmentation:
    """The policy for images with a side of `size` pixels, safe to call from several threads.

    Raises:
        ValueError: unknown name.
    """
    if name not in POLICIES:
        raise ValueError(f"unknown augmentation '{name}': choose from {', '.join(POLICIES)}")
    # A pipeline holds its random state: each thread has its own.
    own = threading.local()

    def augment(image: np.ndarray, mask: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        if not hasattr(own, "pipeline"):
            own.pipeline = A.Compose(POLICIES[name](size))
        own.pipeline.set_random_state(np.random.default_rng(seed), random.Random(seed))
        augmented = own.pipeline(image=image, mask=mask)
        return augmented["image"], augmented["mask"]

    return augment
