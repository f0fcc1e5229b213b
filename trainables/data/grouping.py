"""Which of the examined images are used, which of them stand together, and on which side of the split each is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from trainables.data import duplicates, splits
from trainables.data.examine import Decoded
from trainables.data.manifest import CLASSES, LEFT_OUT, UNKNOWN, DataError, Fault, Manifest, Record
from trainables.data.notes import dataset_notes, group_notes, side_notes

#: What is wrong with an image whose near-duplicates disagree with it.
OTHER_CLASS = "near-duplicate of another class"
#: Sides that mean another one where each source is a fold.
TRAIN_TOO = {splits.VALIDATION: splits.TRAIN}


class ExaminedRecord(NamedTuple):
    """One image: what its layout says, the key of its examination, what that found, and the side it is given."""

    record: Record
    key: str
    outcome: Decoded
    side: str


class Joined(NamedTuple):
    """The N images that can be used, in order of content, and which of them stand together.

    Attributes:
        rows: the images.
        clusters, groups: int64 [N]: near-duplicates; these and patients together.
        faults: all that was found wrong.
    """

    rows: list[ExaminedRecord]
    clusters: np.ndarray
    groups: np.ndarray
    faults: list[Fault]


@dataclass(frozen=True, eq=False)
class Grouped:
    """The N images that are used, in order of content, so that neither names nor listing order change a fingerprint.

    Attributes:
        rows: the images.
        labels, groups, split: int64 [N], as in `Prepared`.
        faults: all that was found wrong, by file.
        left_out: number of images left out.
        notes: what a user should know about groups and splits, a line each.
    """

    rows: list[ExaminedRecord]
    labels: np.ndarray
    groups: np.ndarray
    split: np.ndarray
    faults: tuple[Fault, ...]
    left_out: int
    notes: tuple[str, ...]

    def fingerprint(self) -> str:
        """Identity of contents, labels, groups and split, hexadecimal."""
        # A group is named by its least digest: the number it has in this run depends on what else is in the folder.
        digests = [row.outcome.digest for row in self.rows]
        names: dict[int, str] = {}
        for number, digest in zip(self.groups.tolist(), digests, strict=True):
            names[number] = min(names.get(number, digest), digest)
        columns = zip(digests, self.labels.tolist(), self.groups.tolist(), self.split.tolist(), strict=True)
        identity = sorted([digest, label, names[number], part] for digest, label, number, part in columns)
        return hashlib.sha256(json.dumps(identity).encode()).hexdigest()


def given_sides(manifest: Manifest, test_source: str = "", folds: int | str = 0) -> list[str]:
    """The side of the split, one of `splits.SIDES`, that each record is given by `test_source`, or else by its dataset.

    "train" for all of them where nothing is given: the rest is drawn from there. Where each source is a fold, no image
    is given to validation.

    Raises:
        DataError: a source is to be held out that no record has, or beside a split that the table gives.
    """
    if not test_source:
        given = [record.split or splits.TRAIN for record in manifest.records]
        return [TRAIN_TOO.get(side, side) for side in given] if folds == splits.BY_SOURCE else given
    if not manifest.sources:
        several = "give several datasets, or a table with a column source"
        raise DataError(f"{manifest.root}: names no sources to hold one out; {several}")
    if test_source not in manifest.sources:
        there = ", ".join(manifest.sources)
        raise DataError(f"{manifest.root}: no source {test_source!r} to hold out; it has {there}")
    if any(record.split for record in manifest.records):
        raise DataError(f"{manifest.root}: gives a split already; remove its column, or hold no source out")
    return [splits.HELD_OUT if record.source == test_source else splits.TRAIN for record in manifest.records]


def group(
    manifest: Manifest,
    examined: Sequence[ExaminedRecord],
    links: np.ndarray,
    *,
    test_source: str,
    distance: int,
    seed: int,
    folds: int | str,
) -> Grouped:
    """Leave out what cannot be used, group the rest as `join` does, and split it.

    A group on two sides of a split that is given is named, and stays where it was put; where a source is held out, the
    other sources' part of such a group is left out. Where each source is a fold, a group stays in one source.

    Args:
        manifest: what was read.
        examined: a row for each of its records.
        links: pairs of these rows that are near-duplicates, int64 [L,2], as of `links.near_duplicates`.
        test_source: the source that is held out, "" if none is.
        distance: largest Hamming distance between near-duplicates.
        seed, folds: as for `splits.split`; or folds are `splits.BY_SOURCE`.

    Raises:
        DataError: no usable image is left, or none on a side that is given, or there are too few groups for the folds.
    """
    rows, clusters, groups, faults = join(manifest, examined, links)
    in_train = np.array([row.side == splits.TRAIN for row in rows])
    straddling = duplicates.conflicts(groups, np.array([splits.SIDES.index(row.side) for row in rows]))
    leaking = straddling & (in_train if test_source else ~in_train)
    action = LEFT_OUT if test_source else "kept: the split was given"
    faults += [_leak(rows, groups, i, action) for i in np.flatnonzero(leaking).tolist()]
    notes = [] if test_source else _leak_notes(rows, groups, leaking)
    if test_source:
        rows, clusters, groups = _take(rows, ~leaking), clusters[~leaking], groups[~leaking]
    if folds == splits.BY_SOURCE:
        repeated, repeats = _in_another_source(rows, groups)
        faults += repeats
        rows, clusters, groups = _take(rows, ~repeated), clusters[~repeated], groups[~repeated]

    labels, sides = _labels(rows), [row.side for row in rows]
    if lost := {row.side for row in examined} - set(sides):
        parts = " and ".join(sorted(lost))
        raise DataError(f"{manifest.root}: no usable image is left for {parts} ({_first(faults)})")
    try:
        digests = [row.outcome.digest for row in rows]
        if isinstance(folds, int):
            split = splits.split(groups, labels, digests, sides=sides, seed=seed, folds=folds)
        else:
            sources = [row.record.source for row in rows]
            split = splits.split_by_source(
                groups, labels, digests, sources, sides=sides, order=manifest.sources, seed=seed
            )
    except ValueError as error:
        more = f"; {_first(faults)}" if len(rows) < len(examined) else ""
        raise DataError(f"{manifest.root}: {error}{more}") from None
    return Grouped(
        rows=rows,
        labels=labels,
        groups=duplicates.canonical(groups),
        split=split,
        faults=tuple(sorted(faults, key=lambda fault: fault.file)),
        left_out=len(examined) - len(rows) + sum(fault.left_out for fault in manifest.faults),
        notes=(
            *group_notes(clusters, groups, distance),
            *dataset_notes(manifest, [row.record for row in rows]),
            *side_notes(manifest, [row.record for row in rows], sides, split, test_source=test_source, folds=folds),
            *notes,
        ),
    )


def join(manifest: Manifest, examined: Sequence[ExaminedRecord], links: np.ndarray) -> Joined:
    """Leave out what cannot be used, and group the rest.

    Groups are the union of patients and of near-duplicate clusters. A patient's identifier counts within its source;
    a source is a whole dataset and joins nothing, so patient 1 of two sources is two patients.

    Args:
        manifest: what was read.
        examined: a row for each of its records.
        links: pairs of these rows that are near-duplicates, int64 [L,2].

    Raises:
        DataError: no usable image is left.
    """
    rows, clusters, faults = _agreeing(manifest, examined, links)
    return Joined(rows, clusters, _with_patients(rows, clusters), faults)


def groups_of_all(examined: Sequence[ExaminedRecord], links: np.ndarray) -> np.ndarray:
    """Groups as those of `join`, but of all rows, also of those that it leaves out: int64 [N].

    An image that is unreadable has no near-duplicates, but a patient.
    """
    return _with_patients(examined, duplicates.connected(links, len(examined)))


def _with_patients(rows: Sequence[ExaminedRecord], clusters: np.ndarray) -> np.ndarray:
    """Patients and clusters together: int64 [N] -> int64 [N]."""
    patients = [f"{row.record.source}\0{row.record.patient}" if row.record.patient else "" for row in rows]
    return splits.merge_groups(patients, clusters.tolist())


def _agreeing(
    manifest: Manifest, examined: Sequence[ExaminedRecord], links: np.ndarray
) -> tuple[list[ExaminedRecord], np.ndarray, list[Fault]]:
    """Usable rows in order of content, without clusters that disagree on their class; their clusters; all faults."""
    faults = [*manifest.faults, *(fault for row in examined for fault in row.outcome.faults)]
    order = [i for i, row in enumerate(examined) if row.outcome.usable]
    if not order:
        raise DataError(f"{manifest.root}: none of {len(examined)} images is usable ({_first(faults)})")
    order.sort(key=lambda i: (examined[i].outcome.digest, examined[i].record.image.as_posix()))
    usable = [examined[i] for i in order]
    labels = _labels(usable)
    clusters = duplicates.connected(duplicates.among(links, order), len(usable))
    conflicting = duplicates.conflicts(clusters, labels)
    for i in np.flatnonzero(conflicting).tolist():
        others = (clusters == clusters[i]) & (labels != labels[i]) & (labels != UNKNOWN)
        twins = [f"{CLASSES[row.record.label]}/{row.record.image.name}" for row in _take(usable, others)[:3]]
        problem = f"{OTHER_CLASS} ({', '.join(twins)})"
        faults.append(Fault(usable[i].record.image, problem))
    if conflicting.all():
        raise DataError(f"{manifest.root}: every image has a near-duplicate of another class; check the labels")
    return _take(usable, ~conflicting), clusters[~conflicting], faults


def _first(faults: list[Fault]) -> str:
    return f"{len(faults)} faults" + (f", first: {faults[0]}" if faults else "")


def _leak(rows: list[ExaminedRecord], groups: np.ndarray, i: int, action: str) -> Fault:
    other = _across(rows, groups, i)
    problem = f"near-duplicate or patient of {other.record.image.name}, which is in {other.side}"
    return Fault(rows[i].record.image, problem, action)


def _leak_notes(rows: list[ExaminedRecord], groups: np.ndarray, leaking: np.ndarray) -> list[str]:
    if not leaking.any():
        return []
    first, count = int(leaking.argmax()), len(np.unique(groups[leaking]))
    names = f"{rows[first].record.image.name} / {_across(rows, groups, first).record.image.name}"
    lie = "group lies" if count == 1 else "groups lie"
    return [f"warning: {count} {lie} on both sides of the given split, first: {names}"]


def _across(rows: list[ExaminedRecord], groups: np.ndarray, i: int) -> ExaminedRecord:
    """A row of i's group on another side than i's: one to train on, if there is any."""
    others = [row for row in _take(rows, groups == groups[i]) if row.side != rows[i].side]
    return min(others, key=lambda row: splits.SIDES.index(row.side))


def _in_another_source(rows: list[ExaminedRecord], groups: np.ndarray) -> tuple[np.ndarray, list[Fault]]:
    """Images whose group lies in several sources, but for those of the source that has most of it: bool [N]."""
    repeated, faults = np.zeros(len(rows), bool), list[Fault]()
    numbers = {name: number for number, name in enumerate(sorted({row.record.source for row in rows}))}
    sources = np.array([numbers[row.record.source] for row in rows], np.int64)
    several = duplicates.conflicts(groups, sources)
    for one in np.unique(groups[several]).tolist():
        inside = np.flatnonzero(groups == one)
        kept = np.bincount(sources[inside]).argmax()
        other = rows[inside[sources[inside] == kept][0]].record
        for i in inside[sources[inside] != kept].tolist():
            repeated[i] = True
            problem = f"near-duplicate of {other.image.name}, which is in {other.source}"
            faults.append(Fault(rows[i].record.image, problem))
    return repeated, faults


def _labels(rows: Sequence[ExaminedRecord]) -> np.ndarray:
    return np.array([row.record.label for row in rows], np.int64)


def _take(rows: Sequence[ExaminedRecord], which: np.ndarray) -> list[ExaminedRecord]:
    return [rows[i] for i in np.flatnonzero(which).tolist()]
