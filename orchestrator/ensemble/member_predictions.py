"""From checkpoints to arrays: members' predictions for images that they never saw, in one order and at one size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from orchestrator.common.errors import UserError
from orchestrator.ensemble.held_out import OutOfFoldPredictions
from orchestrator.ensemble.member import Member, PredictionRequest
from orchestrator.inference.networks import Logits, enlarge
from orchestrator.scoring.packed_masks import PackedMasks
from orchestrator.scoring.resampling import inner_folds
from trainables import checkpoint_description
from trainables.data import Prepared
from trainables.evaluation import read_merged_mask
from trainables.tasks import Task
from trainables.tasks.base import to_targets

if TYPE_CHECKING:
    from orchestrator.ensemble.tasks import TaskPool


def held_out_rows(task: Task, data: Prepared, folds: Sequence[int]) -> list[np.ndarray]:
    """Rows (int64) of each of these folds that the task can be scored on.

    Images whose group reaches into another fold or the test set, as a split that was given may have it, are left out.
    """
    parts = np.unique(np.stack([data.groups, data.split]), axis=1)
    groups, counts = np.unique(parts[0], return_counts=True)
    usable = np.intersect1d(task.rows(data), np.flatnonzero(np.isin(data.groups, groups[counts == 1])))
    return [np.intersect1d(data.fold_rows(fold)[1], usable) for fold in folds]


def unscorable(task: Task, data: Prepared, folds: Sequence[int]) -> str:
    """Why the images of these folds together cannot be scored, in words; "" where they can."""
    rows = np.concatenate(held_out_rows(task, data, folds))
    if task.name != "cls" and not data.masks[rows].any():
        return "show no lesion, so there is no Dice"
    labels = data.labels[rows]
    if task.name != "seg" and len(np.unique(labels[labels >= 0])) < 2:
        return "are all of one class: no AUROC"
    return ""


def refuse_overlap(folder: Path, data: Prepared, rows: np.ndarray) -> None:
    """Refuse to score a model on groups that it was trained on.

    Raises:
        UserError: a checkpoint's training images are among these rows.
    """
    trained_on = set(checkpoint_description.read(folder).trained_on)
    seen = sum(data.image_digests[row][:16] in trained_on for row in rows)
    if seen:
        raise UserError(f"{folder}: {seen} of {len(rows)} images to be scored are of groups that it was trained on")


def held_out(
    task: Task, members: Sequence[Member], candidates: int, workers: TaskPool, *, tta: bool
) -> OutOfFoldPredictions:
    """What the members say of the folds that their models never saw.

    Raises:
        UserError: a model cannot predict, or was trained on what it is to be scored on.
    """
    folds = sorted(members[0].checkpoints)
    parts = held_out_rows(task, members[0].data, folds)
    asks = []
    for member in members:
        for fold, rows in zip(folds, parts, strict=True):
            refuse_overlap(member.checkpoints[fold], member.data, rows)
            asks.append(PredictionRequest(member.checkpoints[fold], member.data, rows, tta))
    answers = iter(_answers(workers, asks))
    said = [_joined([next(answers) for _ in folds]) for _ in members]
    rows = np.concatenate(parts)
    which = np.repeat(folds, [len(part) for part in parts])
    several = len(folds) > 1
    truth = _truth(task, members, rows)
    return OutOfFoldPredictions(
        names=tuple(member.name for member in members),
        candidates=candidates,
        **_stacked(said, max(member.size for member in members)),
        **truth,
        shape=None,
        folds=which if several else inner_folds(truth["groups"], truth["labels"]),
        compared=which > 0 if several else np.ones(len(rows), bool),
        rebalanced=any(member.rebalanced for member in members),
        optimistic=not several,
    )


def on_test(
    task: Task, members: Sequence[Member], candidates: int, workers: TaskPool, *, tta: bool, needed: Sequence[int]
) -> OutOfFoldPredictions:
    """What the members say of the test images: the mean of their models' logits. Nothing is to be fitted on it.

    Only the `needed` members (positions) are asked; what the others say is 0.

    Raises:
        UserError: a model cannot predict, or was trained on a test image's group.
    """
    data = members[0].data
    rows = np.intersect1d(data.test_rows(), held_out_rows(task, data, [-1])[0])
    if not len(rows):
        raise UserError("no test image can be scored: each belongs to a group that was trained on, or has no truth")
    asks = []
    for position in needed:
        for folder in members[position].checkpoints.values():
            refuse_overlap(folder, members[position].data, rows)
            asks.append(PredictionRequest(folder, members[position].data, rows, tta))
    answers = iter(_answers(workers, asks))
    means = {position: _mean([next(answers) for _ in members[position].checkpoints]) for position in needed}
    nothing = _nothing(means[needed[0]])
    said = [means.get(position, nothing) for position in range(len(members))]
    return OutOfFoldPredictions(
        names=tuple(member.name for member in members),
        candidates=candidates,
        **_stacked(said, max(member.size for member in members)),
        **_truth(task, members, rows),
        shape=None,
        folds=np.full(len(rows), -1),
        compared=np.ones(len(rows), bool),
    )


def _truth(task: Task, members: Sequence[Member], rows: np.ndarray) -> dict[str, Any]:
    largest = max(members, key=lambda member: member.size).data
    masks = task.name != "cls"
    labels = largest.labels[rows]
    classes = getattr(task, "classes", 0)
    return {
        "targets": to_targets(labels, classes) if classes else np.full(len(rows), -1, np.int64),
        "has_mask": largest.has_mask[rows],
        "truth": np.array(largest.masks[rows]) if masks else None,
        "originals": PackedMasks([read_merged_mask(largest, row) for row in rows]) if masks else None,
        "keep_aspect": largest.keep_aspect,
        "labels": labels,
        "groups": largest.groups[rows],
        "digests": tuple(largest.image_digests[row] for row in rows),
    }


def _answers(workers: TaskPool, asks: Sequence[PredictionRequest]) -> list[Logits]:
    answers = []
    for ask, answer in zip(asks, workers.predict(asks), strict=True):
        if isinstance(answer, str):
            raise UserError(f"{ask.checkpoint}: it cannot predict ({answer})")
        answers.append(answer)
    return answers


def _joined(parts: Sequence[Logits]) -> Logits:
    return _each(parts, np.concatenate)


def _mean(parts: Sequence[Logits]) -> Logits:
    return _each(parts, lambda arrays: np.asarray(np.mean(arrays, axis=0, dtype=np.float32)))


def _nothing(like: Logits) -> Logits:
    return _each([like], lambda arrays: np.zeros_like(arrays[0]))


def _each(parts: Sequence[Logits], function: Callable[[list[np.ndarray]], np.ndarray]) -> Logits:
    """The function of the parts' classes, and of their planes, where there are any."""
    classes = [part.classes for part in parts if part.classes is not None]
    planes = [part.planes for part in parts if part.planes is not None]
    return Logits(function(classes) if classes else None, function(planes) if planes else None)


def _stacked(said: Sequence[Logits], size: int) -> dict[str, Any]:
    planes = [enlarge(one.planes.astype(np.float32), size).astype(np.float16) for one in said if one.planes is not None]
    classes = [one.classes for one in said if one.classes is not None]
    return {"class_logits": np.stack(classes) if classes else None, "planes": np.stack(planes) if planes else None}
