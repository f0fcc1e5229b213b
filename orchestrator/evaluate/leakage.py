"""Which images of a dataset are new to a model, and which of them stand together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from orchestrator.common.console import threads
from orchestrator.common.errors import UserError
from orchestrator.inference.description import Description
from orchestrator.inference.format import LearntFrom
from trainables.data import NORMAL, UNKNOWN, Fault, Manifest
from trainables.data.duplicates import near
from trainables.data.examine import decode
from trainables.data.grouping import OTHER_CLASS, ExaminedRecord, groups_of_all, join
from trainables.data.known import near_in_a_view
from trainables.data.links import near_duplicates
from trainables.data.manifest import DEFAULT_DISTANCE
from trainables.data.notes import dataset_notes, group_notes
from trainables.data.splits import TRAIN
from trainables.tasks.base import to_targets

#: Why an image is not new to a model.
COPY = "the very file is among the model's training images"
NEAR = "near-duplicate of an image that the model learnt from"
TOGETHER = "of the patient or near-duplicates of such an image"
#: `progress(done, total)`.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class UnseenImages:
    """The N images of a dataset that a model is scored on, in order of content, and what became of the others.

    Attributes:
        rows: the images. groups: int64 [N], patients and near-duplicates.
        targets: int64 [N], as the model counts its classes, -1 unknown; all -1 for seg. has_mask: bool [N].
        seen: images left out because the model learnt from them, or from what stands together with them: first those
            that are not the very files. Also those that would have been left out for faults.
        faults: all else that was found wrong.
        passed_over: images without what the model can be scored on, and why, by reason.
        left_out: images left out for faults, of those that are not among `seen`.
        unanswered: images left out since the model gave no number for them; known once it was asked.
        notes: what a user should know about groups, a line each.
        distance: largest Hamming distance, in bits of 256, between near-duplicates.
        known_distance: the largest at which one is a near-duplicate of an image that the model learnt from.
    """

    rows: Sequence[ExaminedRecord]
    groups: np.ndarray
    targets: np.ndarray
    has_mask: np.ndarray
    seen: tuple[Fault, ...]
    faults: tuple[Fault, ...]
    passed_over: dict[str, int]
    left_out: int
    notes: tuple[str, ...]
    distance: int
    known_distance: int
    unanswered: tuple[Fault, ...] = ()

    def answered(self, usable: np.ndarray, why: str) -> UnseenImages:
        """Those that the model gave numbers for, bool [N]; the others are listed, and why.

        Raises:
            UserError: there are none.
        """
        if not usable.any():
            raise UserError(f"no image is left to score, of {len(usable)} that the model was asked about: {why}")
        kept, lost = np.flatnonzero(usable), np.flatnonzero(~usable)
        arrays = {name: getattr(self, name)[kept] for name in ("groups", "targets", "has_mask")}
        unanswered = tuple(Fault(self.rows[i].record.image, why) for i in lost.tolist())
        return replace(self, rows=[self.rows[i] for i in kept.tolist()], unanswered=unanswered, **arrays)

    @property
    def labels(self) -> np.ndarray:
        """Index into `CLASSES`, -1 unknown: int64 [N]."""
        return np.array([row.record.label for row in self.rows], np.int64)


def fresh_images(
    manifest: Manifest,
    description: Description,
    learnt_from: LearntFrom | None,
    progress: Progress,
    distance: int | None = None,
) -> UnseenImages:
    """Examine a dataset as `trainables.data.prepare` does, and leave out what a model cannot be scored on.

    Left out are, beside what is faulty: images that the model learnt from, byte for byte or nearly, with all of their
    groups, since another image of a patient is not new either. For this all images count that can be read, also those
    that are left out for faults: a copy of a training image tells its patient whatever its mask or class is.

    Args:
        manifest: what was read. description, learnt_from: of the model.
        progress: called as images are decoded.
        distance: largest Hamming distance between near-duplicates; that of the model's own data by default. A smaller
            one than theirs joins less, but images that the model learnt from are looked for at theirs all the same.

    Raises:
        DataError: no usable image. UserError: nothing is left to score.
    """
    own = learnt_from.distance if learnt_from else DEFAULT_DISTANCE
    distance = own if distance is None else distance
    known_distance = max(distance, own)
    examined = _examined(manifest, progress)
    links = near_duplicates([row.outcome for row in examined], distance)
    joined = join(manifest, examined, links)
    together = groups_of_all(examined, links)
    seen = _seen(examined, together, set(description.trained_on), learnt_from, known_distance)
    reasons = [seen[row.key] for row in joined.rows]
    faulty = sum(not reason for reason in seen.values()) - sum(not reason for reason in reasons)
    labels = np.array([row.record.label for row in joined.rows], np.int64)
    # A normal has no lesion, also in a folder without any mask: false alarms can be told from normals alone.
    has_mask = np.array([row.record.has_mask for row in joined.rows]) | (labels == NORMAL)
    classes = len(description.classes)
    targets = to_targets(labels, classes) if classes else np.full(len(labels), UNKNOWN, np.int64)
    lacks = _lacks(description.task, labels, targets, has_mask)
    new = np.array([not reason for reason in reasons])
    kept = np.flatnonzero(new & (lacks == ""))
    passed_over = {reason: count for reason, count in Counter(lacks[new].tolist()).items() if reason}
    if not len(kept):
        why = _why(len(examined), sum(map(bool, seen.values())), faulty, passed_over)
        raise UserError(f"{manifest.places}: no image is left to score: {why}")
    groups = joined.groups[kept]
    return UnseenImages(
        rows=[joined.rows[i] for i in kept.tolist()],
        groups=groups,
        targets=targets[kept],
        has_mask=has_mask[kept],
        seen=tuple(
            Fault(row.record.image, seen[row.key])
            for row in sorted(examined, key=lambda row: (seen[row.key] == COPY, row.record.image))
            if seen[row.key]
        ),
        faults=tuple(sorted(joined.faults, key=lambda fault: fault.file)),
        passed_over=passed_over,
        left_out=faulty + sum(fault.left_out for fault in manifest.faults),
        notes=(
            *group_notes(joined.clusters[kept], groups, distance),
            *dataset_notes(manifest, [joined.rows[i].record for i in kept.tolist()]),
            *_doubts(joined.faults, manifest, distance),
        ),
        distance=distance,
        known_distance=known_distance,
    )


def _examined(manifest: Manifest, progress: Progress) -> list[ExaminedRecord]:
    """A row a record, keyed by its number."""
    rows: list[ExaminedRecord] = []
    with ThreadPoolExecutor(threads()) as pool:
        # Of one pixel: what is predicted is read anew, at its own size, so that memory stays flat.
        for record, found in zip(
            manifest.records, pool.map(lambda record: decode(record, 1, False), manifest.records), strict=True
        ):
            rows.append(ExaminedRecord(record, str(len(rows)), replace(found, image=None, masks=None), TRAIN))
            progress(len(rows), len(manifest.records))
    return rows


def _seen(
    rows: Sequence[ExaminedRecord],
    groups: np.ndarray,
    trained_on: set[str],
    learnt_from: LearntFrom | None,
    distance: int,
) -> dict[str, str]:
    """Why each image is not new to the model, "" for one that is, by the key of its row."""
    copies = np.array([row.outcome.image_digest[:16] in trained_on for row in rows])
    readable = np.array([len(row.outcome.image_hash) > 0 for row in rows])
    alike = np.zeros(len(rows), bool)
    # A model without hashes still learnt from the files that are copies.
    known = [rows[i].outcome.image_hash for i in np.flatnonzero(copies & readable).tolist()]
    known += list(learnt_from.hashes) if learnt_from else []
    if known:
        hashes = [rows[i].outcome.image_hash for i in np.flatnonzero(readable).tolist()]
        pictures = [rows[i].outcome.picture for i in np.flatnonzero(readable).tolist()]
        by_hash = near(np.stack(hashes), np.stack(known), distance)
        alike[readable] = by_hash | near_in_a_view(np.stack(pictures), np.stack(known), distance)
    first = {groups[i]: rows[i].record.image.name for i in np.flatnonzero(copies | alike).tolist()[::-1]}
    reasons = {}
    for i, group in enumerate(groups.tolist()):
        if copies[i]:
            reasons[rows[i].key] = COPY
        elif alike[i]:
            reasons[rows[i].key] = NEAR
        else:
            reasons[rows[i].key] = f"{TOGETHER} ({first[group]})" if group in first else ""
    return reasons


def _doubts(faults: Sequence[Fault], manifest: Manifest, distance: int) -> list[str]:
    """Whether so many near-duplicates disagree on their class that they may be none."""
    count = sum(fault.problem.startswith(OTHER_CLASS) for fault in faults)
    if count <= max(5, 0.05 * len(manifest.records)):
        return []
    return [
        f"warning: {count} images are left out because a near-duplicate is of another class; "
        f"if they are not the same lesion, try --duplicate-distance {distance // 2}"
    ]


def _lacks(task: str, labels: np.ndarray, targets: np.ndarray, has_mask: np.ndarray) -> np.ndarray:
    """Why each image cannot be scored, as in training; "" where it can: str [N]."""
    found = np.full(len(labels), "", dtype=object)
    if task == "seg":
        found[~has_mask] = "the mask is not known"
        return found
    found[targets < 0] = "the class is not known"
    found[(targets < 0) & (labels != UNKNOWN)] = "normal, which the model does not know"
    if task == "multi":
        found[(labels == UNKNOWN) & has_mask] = ""
    return found


def _why(images: int, seen: int, faulty: int, passed_over: dict[str, int]) -> str:
    """What became of all images."""
    parts = [f"{seen} of {images} were learnt from, or are near-duplicates or patients of such"] if seen else []
    parts += [f"{faulty} of {images} are faulty, or near-duplicates of another class"] if faulty else []
    return "; ".join([*parts, *(f"{count} of {images}: {reason}" for reason, count in passed_over.items())])
