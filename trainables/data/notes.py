"""What a user should know of data before anything is trained on them: groups, patients, the split; a line each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainables.data import duplicates, splits
from trainables.data.manifest import Manifest, Record
from trainables.data.patients import shared_prefixes


def group_notes(clusters: np.ndarray, groups: np.ndarray, distance: int) -> list[str]:
    """What a user should know about groups, a line each; for clusters and groups, int64 [N], of `join`."""
    counts = np.unique(clusters, return_counts=True)[1]
    notes = [
        f"{len(groups)} images in {len(np.unique(groups))} groups; {counts[counts > 1].sum()} have a near-duplicate"
    ]
    for size in duplicates.oversized(clusters):
        notes.append(
            f"warning: one near-duplicate cluster holds {size} images; "
            f"if they are not the same lesion, try --duplicate-distance {distance // 2}"
        )
    return notes


def dataset_notes(manifest: Manifest, used: Sequence[Record]) -> list[str]:
    """Whose images these are, as far as anything says so: a split by patient rests on it. A line or more a dataset."""
    notes = []
    for one in manifest.datasets:
        sources = set(one.sources)
        mine = [record for record in used if record.source in sources or not manifest.parts]
        about = f"{' and '.join(one.sources)}: " if manifest.parts else ""
        notes += [about + note for note in (*patient_notes(one, mine), *one.warnings)]
    return notes


def patient_notes(dataset: Manifest, used: Sequence[Record]) -> list[str]:
    """Whose images those of one dataset are that are used."""
    patients = {(record.source, record.patient) for record in used if record.patient}
    if patients:
        nobody = sum(not record.patient for record in used)
        without = f"; {nobody} images of nobody known" if nobody else ""
        return [f"patients: {len(patients)}, from {dataset.patients_from}{without}"]
    notes = ["patients unknown: images of one patient may be in train and in test"]
    for name in dataset.unread:
        notes.append(f"warning: nothing reads the column {name!r}: if it names patients, give --patient {name}")
    if shared := shared_prefixes(dataset):
        notes.append(
            f"warning: file names such as {shared} may name patients: if so, give --patient '{{patient}}_{{any}}'"
        )
    return notes


def side_notes(
    manifest: Manifest,
    used: Sequence[Record],
    sides: Sequence[str],
    split: np.ndarray,
    *,
    test_source: str,
    folds: int | str,
) -> list[str]:
    """Which part of the split is not drawn.

    Args:
        used: records that are used. sides: of `splits.SIDES`, of each. split: of each, int64, as `splits.split` gives.
    """
    notes = []
    if folds == splits.BY_SOURCE:
        held = {int(fold): record.source for fold, record in zip(split, used, strict=True) if fold >= 0}
        named = ", ".join(f"{name} (fold {fold})" for fold, name in sorted(held.items()))
        notes.append(f"each source is a fold, and what is held out is of a source not trained on: {named}")
    if test_source:
        notes.append(f"source {test_source} is held out: its {sides.count(splits.HELD_OUT)} images are the test set")
        return notes
    if set(sides) == {splits.TRAIN}:
        return notes
    given = ", ".join(f"{sides.count(side)} {side}" for side in splits.SIDES if side in sides)
    drawn = [side for side in splits.SIDES if side not in sides]
    notes.append(f"the split is given: {given}" + (f"; {drawn[0]} is drawn from train" if drawn else ""))
    without = [name for name in manifest.sources if not any(r.split for r in used if r.source == name)]
    if without and manifest.parts:
        notes.append(f"warning: no split is given for {', '.join(without)}: all of it is on the side train")
    return notes
