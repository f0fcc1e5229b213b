"""Augmentation on a GPU, a batch at a time: a table of parameters for an epoch, and what a batch does with its rows.

The same policies as `trainables.augment` has on a CPU, in distribution: all that moves pixels is one resampling here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from trainables.devices import upload
from trainables.policies import BLUR_SIGMA, BLUR_WIDTHS, DISPLACEMENT, SMOOTHNESS, Policy, Range

#: Taps of the widest blur.
TAPS = 5


class Parameters(NamedTuple):
    """One row an image, float32; a row that leaves the image alone is the identity.

    Attributes:
        theta: [N,2,3], from places in the result to places in the image, both -1..1 (`affine_grid`, corners aligned).
        elastic: [N], displacement in pixels, standard deviation.
        contrast, brightness: [N], factor and summand (0..255). gamma: [N]. noise: [N], standard deviation, 0..255.
        kernels: [N,5], taps of the blur.
    """

    theta: Tensor
    elastic: Tensor
    contrast: Tensor
    brightness: Tensor
    gamma: Tensor
    noise: Tensor
    kernels: Tensor

    def rows(self, start: int, stop: int) -> Parameters:
        """Those of a batch."""
        return Parameters(*(column[start:stop] for column in self))

    def to(self, device: torch.device) -> Parameters:
        """On a device, without waiting for it."""
        return Parameters(*(upload(column, device) for column in self))


def draw(policy: Policy, count: int, size: int, seed: Sequence[int]) -> Parameters:
    """Parameters for `count` images with a side of `size` pixels: seed, policy and count decide them alone."""
    rng = np.random.default_rng([*seed, 1])  # the order of an epoch is drawn with the seed itself
    ones = np.ones(count)

    def uniform(low: float, high: float, p: float, identity: float) -> np.ndarray:
        values, chosen = rng.uniform(low, high, count), rng.random(count) < p
        return np.where(chosen, values, identity)

    def drawn(given: Range | None, identity: float) -> np.ndarray:
        return uniform(given.low, given.high, given.p, identity) if given else identity * ones

    flips = [1 - 2 * (rng.random(count) < p) for p in (policy.horizontal, policy.vertical)]
    theta = _theta(policy, rng, flips, size)
    elastic = DISPLACEMENT * size * (rng.random(count) < policy.elastic)
    toned, tone = rng.random(count) < (policy.tone.p if policy.tone else 0), policy.tone
    most_contrast, most_brightness = (tone.contrast, tone.brightness) if tone else (0.0, 0.0)
    contrast = np.where(toned, 1 + rng.uniform(-most_contrast, most_contrast, count), 1)
    brightness = np.where(toned, 255 * rng.uniform(-most_brightness, most_brightness, count), 0)
    gamma, noise = drawn(policy.gamma, 1.0), 255 * drawn(policy.noise, 0.0)
    columns = theta, elastic, contrast, brightness, gamma, noise, _kernels(policy, rng, count)
    return Parameters(*(torch.from_numpy(np.asarray(column, np.float32)) for column in columns))


def augment(
    policy: Policy, images: Tensor, masks: Tensor, drawn: Parameters, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Images and masks, uint8 [B,1,S,S], as their rows of parameters say.

    Args:
        generator: of the device; noise and deformations come from it.
    """
    if policy == Policy():
        return images, masks
    grid = _grid(policy, drawn, images.shape[-1], generator)
    masks = functional.grid_sample(masks.float(), grid, "nearest", "reflection", align_corners=True).to(torch.uint8)
    found = functional.grid_sample(images.float(), grid, "bilinear", "reflection", align_corners=True)
    each = {name: column[:, None, None, None] for name, column in drawn._asdict().items() if column.ndim == 1}
    if policy.tone:
        found = (found * each["contrast"] + each["brightness"]).clamp(0, 255)
    if policy.gamma:
        found = 255 * (found / 255) ** each["gamma"]
    if policy.noise:
        found = found + each["noise"] * torch.randn(found.shape, generator=generator, device=found.device)
    if policy.blur:
        found = _blur(found, drawn.kernels)
    return found.clamp(0, 255).round().to(torch.uint8), masks


def _theta(policy: Policy, rng: np.random.Generator, flips: Sequence[np.ndarray], size: int) -> np.ndarray:
    """The inverse of: flip, zoom, rotation, shear, shift, in this order, about the centre; [N,2,3]."""
    count, affine = len(flips[0]), policy.affine
    forward = np.zeros((count, 2, 2))
    forward[:, 0, 0], forward[:, 1, 1] = flips
    shift = np.zeros((count, 2))
    if affine:
        chosen = rng.random(count) < affine.p
        zoom = rng.uniform(*affine.zoom, (count, 2))
        zoom[:, 1] = zoom[:, 0] if affine.keep_ratio else zoom[:, 1]
        angle = np.deg2rad(rng.uniform(-affine.rotate, affine.rotate, count))
        shear = np.tan(np.deg2rad(rng.uniform(-affine.shear, affine.shear, (count, 2))))
        cos, sin, one = np.cos(angle), np.sin(angle), np.ones(count)
        rotation = np.stack([cos, sin, -sin, cos], 1).reshape(-1, 2, 2)
        shearing = np.stack([one, shear[:, 0], shear[:, 1], one], 1).reshape(-1, 2, 2)
        moved = shearing @ rotation @ (zoom[:, :, None] * forward)
        forward = np.where(chosen[:, None, None], moved, forward)
        pixels = np.trunc(rng.uniform(-affine.shift, affine.shift, (count, 2)) * size)
        shift = np.where(chosen[:, None], pixels * 2 / (size - 1), 0)
    inverse = np.linalg.inv(forward)
    return np.concatenate([inverse, -inverse @ shift[:, :, None]], axis=2)


def _kernels(policy: Policy, rng: np.random.Generator, count: int) -> np.ndarray:
    """Taps of Gaussian blurs, [N,5]; albumentations draws a width from whole numbers and makes it odd."""
    blurred, sigma = rng.random(count) < policy.blur, rng.uniform(*BLUR_SIGMA, count)
    width = rng.integers(BLUR_WIDTHS[0], BLUR_WIDTHS[1] + 1, count) // 2 * 2 + 1
    place = np.arange(TAPS) - TAPS // 2
    taps = np.exp(-0.5 * (place / sigma[:, None]) ** 2) * (np.abs(place) <= width[:, None] // 2)
    return np.asarray(np.where(blurred[:, None], taps / taps.sum(1, keepdims=True), place == 0))


def _grid(policy: Policy, drawn: Parameters, size: int, generator: torch.Generator) -> Tensor:
    """Where each pixel of the result comes from, [B,S,S,2]."""
    count = len(drawn.theta)
    if not policy.elastic:
        return functional.affine_grid(drawn.theta, [count, 1, size, size], align_corners=True)
    line = torch.linspace(-1, 1, size, device=drawn.theta.device)
    places = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1)
    moved = (
        places + _field(size, count, places.device, generator) * (drawn.elastic * 2 / (size - 1))[:, None, None, None]
    )
    return moved.flatten(1, 2).matmul(drawn.theta[:, :, :2].mT).add(drawn.theta[:, None, :, 2]).reshape(moved.shape)


def _field(size: int, count: int, device: torch.device, generator: torch.Generator) -> Tensor:
    """Smooth random fields [B,S,S,2] of standard deviation 1; made coarse, as they are smooth, and enlarged."""
    step = max(1, int(SMOOTHNESS * size / 2))
    sigma, side = SMOOTHNESS * size / step, math.ceil(size / step)
    reach = math.ceil(4 * sigma)
    taps = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=device) / sigma) ** 2)
    taps = taps / taps.square().sum().sqrt()
    noise = torch.randn(2 * count, 1, *[side + 2 * reach] * 2, generator=generator, device=device)
    smooth = functional.conv2d(functional.conv2d(noise, taps[None, None, None]), taps[None, None, :, None])
    fields = functional.interpolate(smooth, (size, size), mode="bilinear", align_corners=True)
    return fields.reshape(count, 2, size, size).permute(0, 2, 3, 1)


def _blur(images: Tensor, kernels: Tensor) -> Tensor:
    """Each image [B,1,S,S] with its own taps, along rows and columns."""
    edge, count = TAPS // 2, len(images)
    wide = functional.pad(images, [edge] * 4, mode="reflect").transpose(0, 1)
    across = functional.conv2d(wide, kernels[:, None, None, :], groups=count)
    return functional.conv2d(across, kernels[:, None, :, None], groups=count).transpose(0, 1)
