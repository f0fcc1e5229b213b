"""Augmentation policies by name, as data: a CPU draws from them image by image (albumentations), a GPU in batches."""

from __future__ import annotations

from dataclasses import dataclass

#: Elastic deformation, tissue pressed by the probe: displaced by so much of the side (one standard deviation), smooth
#: over so much of it.
DISPLACEMENT, SMOOTHNESS = 0.015, 0.04
#: Standard deviation of a blur's kernel in pixels, and the widths that it may have.
BLUR_SIGMA, BLUR_WIDTHS = (0.5, 3.0), (3, 5)


@dataclass(frozen=True)
class Affine:
    """Drawn uniformly, with probability `p`; the border is mirrored.

    Attributes:
        zoom: least and most, as factors; of height and width apart, unless `keep_ratio`.
        shift: the most, either way, as a fraction of the side. rotate, shear: the most, either way, in degrees.
    """

    zoom: tuple[float, float]
    shift: float
    rotate: float
    p: float
    shear: float = 0.0
    keep_ratio: bool = False


@dataclass(frozen=True)
class Tone:
    """Contrast about black and brightness: x (1 + c) + 255 b, with c and b uniform in +-`contrast`, +-`brightness`."""

    brightness: float
    contrast: float
    p: float


@dataclass(frozen=True)
class Range:
    """Uniform between `low` and `high`, with probability `p`."""

    low: float
    high: float
    p: float


@dataclass(frozen=True)
class Policy:
    """What may be done to an image, in this order; mask and image move together.

    Attributes:
        horizontal, vertical: probability of a flip. elastic: of a deformation. blur: of a Gaussian blur.
        gamma: exponent of pixels in 0..1. noise: standard deviation of Gaussian noise, in 0..1.
    """

    horizontal: float = 0.0
    vertical: float = 0.0
    affine: Affine | None = None
    elastic: float = 0.0
    tone: Tone | None = None
    gamma: Range | None = None
    noise: Range | None = None
    blur: float = 0.0


POLICIES = {
    "none": Policy(),
    "light": Policy(
        horizontal=0.5,
        affine=Affine((0.9, 1.1), 0.06, 10, p=0.5, keep_ratio=True),
        tone=Tone(0.1, 0.1, p=0.5),
    ),
    "medium": Policy(
        horizontal=0.5,
        affine=Affine((0.8, 1.2), 0.1, 20, p=0.7, keep_ratio=True),
        tone=Tone(0.2, 0.2, p=0.5),
        gamma=Range(0.7, 1.4, p=0.3),
        noise=Range(0.01, 0.04, p=0.2),
    ),
    "strong": Policy(
        horizontal=0.5,
        affine=Affine((0.7, 1.4), 0.15, 30, p=0.9, shear=8),
        elastic=0.2,
        tone=Tone(0.2, 0.3, p=0.6),
        gamma=Range(0.6, 1.6, p=0.4),
        noise=Range(0.02, 0.08, p=0.3),
        blur=0.2,
    ),
    # AUG_S of the reference notebooks, Keras' ranges: rotation 90, shift .2, shear .3 (degrees), zoom .3, flips.
    "aug_s": Policy(horizontal=0.5, vertical=0.5, affine=Affine((0.7, 1.3), 0.2, 90, p=1.0, shear=0.3)),
    # AUG_A of the reference notebooks: albumentations' ShiftScaleRotate, brightness and contrast, noise, flips. Its
    # noise has variance 10 to 50 of 8 bits, the default of the release that the notebooks used.
    "aug_a": Policy(
        horizontal=0.5,
        vertical=0.2,
        affine=Affine((0.9, 1.1), 0.0625, 15, p=0.6, keep_ratio=True),
        tone=Tone(0.2, 0.2, p=0.5),
        noise=Range(10**0.5 / 255, 50**0.5 / 255, p=0.3),
    ),
}


def policy(name: str) -> Policy:
    """The policy of a name.

    Raises:
        ValueError: unknown name.
    """
    if name not in POLICIES:
        raise ValueError(f"unknown augmentation '{name}': choose from {', '.join(POLICIES)}")
    return POLICIES[name]
