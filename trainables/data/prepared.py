"""Prepared data: every image decoded, checked, grouped, split and resized once, then mapped from disk."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainables.data import splits
from trainables.data.cache import FORMAT, ExaminedIndex, content_key, read_arrays, write_arrays
from trainables.data.duplicates import DEFAULT_DISTANCE, HASH_BYTES, perceptual_hash
from trainables.data.examine import decode
from trainables.data.grouping import ExaminedRecord, given_sides, group
from trainables.data.manifest import CLASSES, DataError, Fault, Manifest, Record
from trainables.data.phantom import is_phantom
from trainables.data.pixels import read_image

#: `progress(done, total)`, called as images are decoded.
Progress = Callable[[int, int], None]
#: A decoded image, uint8 [S, S], and its masks, uint8 [k, S, S].
Pixels = tuple[np.ndarray, np.ndarray]


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

    @property
    def has_masks(self) -> bool:
        """Whether the mask of any image is known (not so for class folders without masks)."""
        return bool(self.has_mask.any())

    def fold_rows(self, fold: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows (int64) to train on and rows to validate on for `fold`; test images are in neither."""
        learnt = (self.split != splits.TEST) & (self.split != fold)
        return np.flatnonzero(learnt), np.flatnonzero(self.split == fold)

    def test_rows(self) -> np.ndarray:
        """Rows (int64) of the test images."""
        return np.flatnonzero(self.split == splits.TEST)

    def training_masks(self, rows: np.ndarray) -> np.ndarray:
        """Masks (int64) to train on for the images `rows`: the single ones where there are several, else the merged."""
        merged = np.setdiff1d(rows, self.mask_image[len(self.images) :])
        single = np.arange(len(self.images), len(self.masks))
        return np.concatenate([merged, single[np.isin(self.mask_image[single], rows)]])


def prepare(
    manifest: Manifest,
    cache: Path,
    *,
    size: int,
    keep_aspect: bool = False,
    masks: str = "merge",
    folds: int = 5,
    split_seed: int = 0,
    duplicate_distance: int = DEFAULT_DISTANCE,
    test_source: str = "",
    progress: Progress = lambda done, total: None,
) -> Prepared:
    """Prepare a dataset, or map it from `cache` where the same was prepared before.

    Args:
        manifest: what `read_manifest` found.
        cache: folder for outcomes and arrays; made if absent.
        size: side of the prepared square images, pixels.
        keep_aspect: letterbox instead of stretching.
        masks: `merge` trains on the union of an image's masks, `duplicate` on one sample per mask.
        folds: number of folds over the images that are not test, at least 2.
        split_seed: seed of the split, which is part of the data's identity.
        duplicate_distance: largest Hamming distance, in bits of 256, between near-duplicates.
        test_source: the source that is held out as the test set; "" draws the test set, or takes a given one.
        progress: called as images are decoded.

    Raises:
        DataError: no usable image is left, there are too few groups for the folds, or `test_source` cannot be held out.
    """
    sides = given_sides(manifest, test_source)
    index = ExaminedIndex(cache)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        keys = list(pool.map(index.key, manifest.records))
        pixels: dict[str, Pixels] = {}

        def decode_all(wanted: dict[str, Record]) -> None:
            jobs = pool.map(lambda record: decode(record, size, keep_aspect), wanted.values())
            for done, (key, decoded) in enumerate(zip(wanted, jobs, strict=True), start=1):
                if decoded.image is not None and decoded.masks is not None:
                    pixels[key] = decoded.image, decoded.masks
                index.put(key, wanted[key], decoded)
                progress(done, len(wanted))

        decode_all({key: record for key, record in zip(keys, manifest.records, strict=True) if key not in index})
        index.save()
        examined = [
            ExaminedRecord(record, key, index.get(key, record), side)
            for record, key, side in zip(manifest.records, keys, sides, strict=True)
        ]
        grouped = group(
            manifest, examined, test_source=test_source, distance=duplicate_distance, seed=split_seed, folds=folds
        )
        rows, data_fingerprint = grouped.rows, grouped.fingerprint()
        identity = json.dumps([data_fingerprint, FORMAT, size, keep_aspect, masks])
        prepared_fingerprint = hashlib.sha256(identity.encode()).hexdigest()
        folder = cache / prepared_fingerprint[:20]
        arrays = read_arrays(folder)
        if arrays is None:
            decode_all({row.key: row.record for row in rows if row.key not in pixels})
            write_arrays(folder, **_stack([pixels[row.key] for row in rows], masks == "duplicate"))
            arrays = read_arrays(folder)
            if arrays is None:
                raise DataError(
                    f"{folder}: prepared data cannot be read back; is the disk full? Free space and try again"
                )
    records = [row.record for row in rows]
    return Prepared(
        **arrays,
        labels=grouped.labels,
        groups=grouped.groups,
        split=grouped.split,
        sizes=np.array([(row.outcome.height, row.outcome.width) for row in rows], np.int64),
        has_mask=np.array([manifest.has_mask(record) for record in records]),
        keep_aspect=keep_aspect,
        digests=tuple(row.outcome.digest for row in rows),
        image_digests=tuple(row.outcome.image_digest for row in rows),
        files=tuple(str(record.image) for record in records),
        mask_files=tuple(tuple(str(mask) for mask in record.masks) for record in records),
        sources=tuple(record.source for record in records),
        subgroups=_columns(records),
        faults=grouped.faults,
        left_out=grouped.left_out,
        notes=grouped.notes,
        classes=CLASSES,
        synthetic=is_phantom(manifest.root),
        data_fingerprint=data_fingerprint,
        prepared_fingerprint=prepared_fingerprint,
    )


def image_hashes(data: Prepared, cache: Path, rows: np.ndarray) -> np.ndarray:
    """Perceptual hashes of these rows (int64 [n]), uint8 [n,128], as `prepare` found and remembered them in `cache`.

    What was forgotten, as when two searches wrote at once, is read again.

    Raises:
        UnreadableError: an image file that was forgotten cannot be read any more.
    """
    index, found = ExaminedIndex(cache), np.zeros((len(rows), HASH_BYTES), np.uint8)
    for place, row in enumerate(rows.tolist()):
        key = content_key(data.digests[row], int(data.labels[row]), len(data.mask_files[row]))
        found[place] = index.image_hash(key) if key in index else perceptual_hash(read_image(Path(data.files[row])))
    return found


def _columns(records: Sequence[Record]) -> dict[str, tuple[str, ...]]:
    names = [name for name, _ in records[0].subgroups]
    return {name: tuple(record.subgroups[i][1] for record in records) for i, name in enumerate(names)}


def _stack(pixels: Sequence[Pixels], duplicate: bool) -> dict[str, np.ndarray]:
    single = [(row, mask) for row, (_, masks) in enumerate(pixels) if duplicate and len(masks) > 1 for mask in masks]
    merged = [masks.any(axis=0).astype(np.uint8) for _, masks in pixels]
    return {
        "images": np.stack([image for image, _ in pixels]),
        "masks": np.stack([*merged, *(mask for _, mask in single)]),
        "mask_image": np.array([*range(len(pixels)), *(row for row, _ in single)], np.int64),
    }
