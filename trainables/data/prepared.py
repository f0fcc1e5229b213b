"""Prepared data: what a dataset is once every image was decoded, checked, grouped, split and resized."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainables.data.manifest import TEST, Fault


@dataclass(frozen=True)
class Prepared:
    """A dataset ready for training. N images, S pixels a side, M >= N masks.

    Attributes:
        images: uint8 [N, S, S], grey.
        masks: uint8 [M, S, S], 0 or 1. Mask i < N is image i's merged mask; the others are the single masks of images
            that have several (`--masks duplicate`).
        mask_image: int64 [M], the image each mask belongs to.
        labels: int64 [N], index into `CLASSES`, or -1 if unknown.
        groups: int64 [N]; images of one group are on one side of every split that is drawn.
        split: int64 [N], -1 for test, else the fold.
        sizes: int64 [N, 2], height and width of the original in pixels.
        has_mask: bool [N], whether an image's mask is known, be it an empty one. Where it is not, `masks` is 0 too.
        keep_aspect: whether images are letterboxed; else stretched.
        digests: N hexadecimal digests of image and mask contents; they name images in checkpoints.
        files: the N image files, absolute.
        mask_files: the mask files of each image, absolute; the merged mask is their union.
        sources: N names of the datasets that the images come from; "" if not given.
        subgroups: N values by column of a table; "" where a cell is empty.
        faults: everything that was found wrong, and what was done.
        left_out: number of images left out.
        notes: what a user should know about groups and splits, a line each.
        classes: the class order that labels index.
        synthetic: whether they are phantom images.
        data_fingerprint: identity of contents, labels, groups and splits, hexadecimal.
        resized_masks: whether mask files may be of another size than their image, whose picture they are.
        prepared_fingerprint: the same with size, aspect and mask mode; names the cache.
    """

    images: np.ndarray
    masks: np.ndarray
    mask_image: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    split: np.ndarray
    sizes: np.ndarray
    has_mask: np.ndarray
    keep_aspect: bool
    digests: tuple[str, ...]
    image_digests: tuple[str, ...]
    files: tuple[str, ...]
    mask_files: tuple[tuple[str, ...], ...]
    sources: tuple[str, ...]
    subgroups: dict[str, tuple[str, ...]]
    faults: tuple[Fault, ...]
    left_out: int
    notes: tuple[str, ...]
    classes: tuple[str, ...]
    synthetic: bool
    data_fingerprint: str
    prepared_fingerprint: str
    resized_masks: bool = False

    @property
    def has_masks(self) -> bool:
        """Whether the mask of any image is known (not so for class folders without masks)."""
        return bool(self.has_mask.any())

    def fold_rows(self, fold: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows (int64) to train on and rows to validate on for `fold`; test images are in neither."""
        learnt = (self.split != TEST) & (self.split != fold)
        return np.flatnonzero(learnt), np.flatnonzero(self.split == fold)

    def test_rows(self) -> np.ndarray:
        """Rows (int64) of the test images."""
        return np.flatnonzero(self.split == TEST)

    def training_masks(self, rows: np.ndarray) -> np.ndarray:
        """Masks (int64) to train on for the images `rows`: the single ones where there are several, else the merged."""
        merged = np.setdiff1d(rows, self.mask_image[len(self.images) :])
        single = np.arange(len(self.images), len(self.masks))
        return np.concatenate([merged, single[np.isin(self.mask_image[single], rows)]])
