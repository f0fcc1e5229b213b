"""Preparing data: every image decoded, checked, grouped, split and resized once, then mapped from disk."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from trainables import unfinished
from trainables.data.cache import FORMAT, ExaminedIndex, content_key, read_arrays, write_arrays
from trainables.data.duplicates import HASH_BYTES, perceptual_hash
from trainables.data.examine import decode
from trainables.data.grouping import ExaminedRecord, given_sides, group
from trainables.data.links import near_duplicates
from trainables.data.manifest import CLASSES, DEFAULT_DISTANCE, DataError, Manifest, Record
from trainables.data.phantom import is_phantom
from trainables.data.pixels import read_image
from trainables.data.prepared import Prepared
from trainables.data.scratch import Scratch, map_ahead

#: What is prepared of images.
ARRAYS = ("images", "masks", "mask_image")
#: `progress(done, total)`, called as images are decoded.
Progress = Callable[[int, int], None]


def prepare(
    manifest: Manifest,
    cache: Path,
    *,
    size: int,
    keep_aspect: bool = False,
    masks: str = "merge",
    folds: int | str = 5,
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
        folds: number of folds over the images that are not test, at least 2; or `splits.BY_SOURCE`: one a source.
        split_seed: seed of the split, which is part of the data's identity.
        duplicate_distance: largest Hamming distance, in bits of 256, between near-duplicates.
        test_source: the source that is held out as the test set; "" draws the test set, or takes a given one.
        progress: called as images are decoded.

    Raises:
        DataError: no usable image is left, there are too few groups for the folds, or `test_source` cannot be held out.
    """
    sides = given_sides(manifest, test_source, folds)
    unfinished.sweep(cache)
    index = ExaminedIndex(cache)
    with ThreadPoolExecutor(os.cpu_count()) as pool, Scratch(cache, size) as scratch:
        keys = list(pool.map(index.key, manifest.records))

        def decode_all(wanted: dict[str, Record]) -> None:
            jobs = map_ahead(pool, lambda record: decode(record, size, keep_aspect), wanted.values())
            for done, (key, decoded) in enumerate(zip(wanted, jobs, strict=True), start=1):
                if decoded.image is not None and decoded.masks is not None:
                    scratch.put(key, decoded.image, decoded.masks)
                index.put(key, wanted[key], decoded)
                progress(done, len(wanted))

        decode_all({key: record for key, record in zip(keys, manifest.records, strict=True) if key not in index})
        index.save()
        examined = [
            ExaminedRecord(record, key, index.get(key, record), side)
            for record, key, side in zip(manifest.records, keys, sides, strict=True)
        ]
        links = near_duplicates([row.outcome for row in examined], duplicate_distance, cache)
        grouped = group(
            manifest,
            examined,
            links,
            test_source=test_source,
            distance=duplicate_distance,
            seed=split_seed,
            folds=folds,
        )
        rows, data_fingerprint = grouped.rows, grouped.fingerprint()
        identity = json.dumps([data_fingerprint, FORMAT, size, keep_aspect, masks])
        prepared_fingerprint = hashlib.sha256(identity.encode()).hexdigest()
        folder = cache / prepared_fingerprint[:20]
        arrays = read_arrays(folder, *ARRAYS)
        if arrays is None:
            decode_all({row.key: row.record for row in rows if row.key not in scratch})
            if lost := [row for row in rows if row.key not in scratch]:
                raise DataError(f"{lost[0].record.image}: cannot be read any more; run again")
            write_arrays(folder, **scratch.arrays([row.key for row in rows], masks == "duplicate"))
            arrays = read_arrays(folder, *ARRAYS)
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
        has_mask=np.array([record.has_mask for record in records]),
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
        synthetic=any(is_phantom(one.root) for one in manifest.datasets),
        data_fingerprint=data_fingerprint,
        prepared_fingerprint=prepared_fingerprint,
        resized_masks=any(record.resized_masks or record.scaled_masks for record in records),
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
