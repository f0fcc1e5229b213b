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

from trainables.data import duplicates, splits
from trainables.data.cache import FORMAT, ExaminedIndex, read_arrays, write_arrays
from trainables.data.examine import Decoded, decode
from trainables.data.manifest import CLASSES, DataError, Fault, Manifest, Record

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
        groups: int64 [N]; images of one group are on one side of every split.
        split: int64 [N], -1 for test, else the fold.
        sizes: int64 [N, 2], height and width of the original in pixels.
        digests: N hexadecimal digests of image and mask contents; they name images in checkpoints.
        files: the N image files, absolute.
        has_masks: whether masks mean anything here (False for class folders without masks).
        faults: everything that was found wrong, and what was done.
        left_out: number of images left out.
        notes: what a user should know about groups and splits, a line each.
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
    digests: tuple[str, ...]
    files: tuple[str, ...]
    has_masks: bool
    faults: tuple[Fault, ...]
    left_out: int
    notes: tuple[str, ...]
    data_fingerprint: str
    prepared_fingerprint: str

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
    duplicate_distance: int = duplicates.DEFAULT_DISTANCE,
    progress: Progress = lambda done, total: None,
) -> Prepared:
    """Prepare a dataset, or map it from `cache` where the same was prepared before.

    Args:
        manifest: what `read_manifest` found.
        cache: folder for outcomes and arrays; made if absent.
        size: side of the prepared square images, pixels.
        keep_aspect: letterbox instead of stretching.
        masks: `merge` trains on the union of an image's masks, `duplicate` on one sample per mask.
        folds: number of folds over the images that are not test.
        split_seed: seed of the split, which is part of the data's identity.
        duplicate_distance: largest Hamming distance, in bits of 256, between near-duplicates.
        progress: called as images are decoded.

    Raises:
        DataError: no usable image is left, or there are too few groups for the folds.
    """
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
        rows = _Rows.of(manifest, keys, index, duplicate_distance)
        split = rows.split(split_seed, folds)
        data_fingerprint = rows.fingerprint(split)
        prepared_fingerprint = _sha256([data_fingerprint, FORMAT, size, keep_aspect, masks])
        folder = cache / prepared_fingerprint[:20]
        arrays = read_arrays(folder)
        if arrays is None:
            decode_all({key: record for key, record in zip(rows.keys, rows.records, strict=True) if key not in pixels})
            write_arrays(folder, **_stack([pixels[key] for key in rows.keys], masks == "duplicate"))
            arrays = read_arrays(folder)
            if arrays is None:
                raise DataError(
                    f"{folder}: prepared data cannot be read back; is the disk full? Free space and try again"
                )
    return Prepared(
        **arrays,
        labels=rows.labels,
        groups=rows.groups,
        split=split,
        sizes=np.array([(one.height, one.width) for one in rows.outcomes], np.int64),
        digests=tuple(one.digest for one in rows.outcomes),
        files=tuple(str(record.image) for record in rows.records),
        has_masks=manifest.has_masks,
        faults=rows.faults,
        left_out=rows.left_out,
        notes=rows.notes,
        data_fingerprint=data_fingerprint,
        prepared_fingerprint=prepared_fingerprint,
    )


@dataclass(frozen=True)
class _Rows:
    """The usable images in order of content, so that neither names nor listing order change a fingerprint."""

    keys: list[str]
    records: list[Record]
    outcomes: list[Decoded]
    labels: np.ndarray
    groups: np.ndarray
    faults: tuple[Fault, ...]
    left_out: int
    notes: tuple[str, ...]

    @classmethod
    def of(cls, manifest: Manifest, keys: Sequence[str], index: ExaminedIndex, distance: int) -> _Rows:
        outcomes = [index.get(key, record) for key, record in zip(keys, manifest.records, strict=True)]
        faults = [*manifest.faults, *(fault for one in outcomes for fault in one.faults)]
        usable = [i for i, one in enumerate(outcomes) if one.usable]
        if not usable:
            first = f", first: {faults[0]}" if faults else ""
            raise DataError(f"{manifest.root}: none of {len(keys)} images is usable ({len(faults)} faults{first})")
        usable.sort(key=lambda i: (outcomes[i].digest, manifest.records[i].image.as_posix()))
        records = [manifest.records[i] for i in usable]
        labels = np.array([record.label for record in records], np.int64)
        clusters = duplicates.cluster(np.stack([outcomes[i].image_hash for i in usable]), distance)
        conflicting = duplicates.conflicts(clusters, labels)
        for row in np.flatnonzero(conflicting):
            twins = [i for i in np.flatnonzero(clusters == clusters[row]) if labels[i] != labels[row]]
            names = ", ".join(f"{CLASSES[labels[i]]}/{records[i].image.name}" for i in twins[:3])
            faults.append(Fault(records[row].image, f"near-duplicate of another class ({names})", "left out"))
        kept = np.flatnonzero(~conflicting)
        if not len(kept):
            raise DataError(f"{manifest.root}: every image has a near-duplicate of another class; check the labels")
        groups = splits.merge_groups([records[i].patient for i in kept], clusters[kept].tolist())
        return cls(
            keys=[keys[usable[i]] for i in kept],
            records=[records[i] for i in kept],
            outcomes=[outcomes[usable[i]] for i in kept],
            labels=labels[kept],
            groups=groups,
            faults=tuple(sorted(faults, key=lambda fault: fault.file)),
            left_out=len(outcomes) - len(kept) + sum(fault.action.startswith("left out") for fault in manifest.faults),
            notes=_notes(clusters[kept], groups, distance),
        )

    def split(self, seed: int, folds: int) -> np.ndarray:
        try:
            return splits.split(self.groups, self.labels, [one.digest for one in self.outcomes], seed=seed, folds=folds)
        except ValueError as error:
            raise DataError(f"{self.records[0].image.parent.parent}: {error}") from None

    def fingerprint(self, split: np.ndarray) -> str:
        # A group is named by its least digest: the number it has in this run depends on what else is in the folder.
        names: dict[int, str] = {}
        for group, one in zip(self.groups.tolist(), self.outcomes, strict=True):
            names[group] = min(names.get(group, one.digest), one.digest)
        return _sha256(
            sorted(
                [one.digest, int(label), names[int(group)], int(part)]
                for one, label, group, part in zip(self.outcomes, self.labels, self.groups, split, strict=True)
            )
        )


def _stack(pixels: Sequence[Pixels], duplicate: bool) -> dict[str, np.ndarray]:
    single = [(row, mask) for row, (_, masks) in enumerate(pixels) if duplicate and len(masks) > 1 for mask in masks]
    merged = [masks.any(axis=0).astype(np.uint8) for _, masks in pixels]
    return {
        "images": np.stack([image for image, _ in pixels]),
        "masks": np.stack([*merged, *(mask for _, mask in single)]),
        "mask_image": np.array([*range(len(pixels)), *(row for row, _ in single)], np.int64),
    }


def _notes(clusters: np.ndarray, groups: np.ndarray, distance: int) -> tuple[str, ...]:
    counts = np.bincount(clusters)
    notes = [
        f"{len(groups)} images in {len(np.unique(groups))} groups; {counts[counts > 1].sum()} have a near-duplicate"
    ]
    for size in duplicates.oversized(clusters):
        notes.append(
            f"warning: one near-duplicate cluster holds {size} images; "
            f"if they are not the same lesion, try --duplicate-distance {distance // 2}"
        )
    return tuple(notes)


def _sha256(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
