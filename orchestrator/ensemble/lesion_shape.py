"""Lesion shape of held-out and test images, from masks of networks that never saw them: for `stacked`."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import AfterValidator, Field

from orchestrator.common.console import say
from orchestrator.ensemble.combiners.fits import Fits
from orchestrator.ensemble.held_out import OutOfFoldPredictions
from orchestrator.ensemble.member import Member, Segmenter
from orchestrator.ensemble.member_predictions import held_out, on_test
from orchestrator.inference.combination import Combination, Head
from orchestrator.inference.lesion_shape import lesion_shape
from orchestrator.storage.atomic import write_text
from orchestrator.storage.run_folder import NAMES
from trainables import checkpoint, stored
from trainables.checkpoint_description import Side
from trainables.data import Prepared
from trainables.data.pixels import read_image, to_original_size
from trainables.stored import DamagedError

if TYPE_CHECKING:
    from orchestrator.ensemble.members import MemberTrainer


def features(combination: Combination, held: OutOfFoldPredictions, data: Prepared) -> np.ndarray:
    """`FEATURES` of each image's predicted mask at original size, float64 [N,F].

    Raises:
        UnreadableError: an image file cannot be read any more.
    """
    assert held.planes is not None
    assert combination.masks
    place = {digest: row for row, digest in enumerate(data.image_digests)}
    found = []
    for i, digest in enumerate(held.digests):
        image = read_image(Path(data.files[place[digest]]))
        logits = to_original_size(
            combination.mask_logits(held.planes[:, i]), *image.shape, keep_aspect=held.keep_aspect
        )
        found.append(lesion_shape(logits > combination.masks.threshold, image))
    return np.stack(found)


def with_own(fits: Fits, data: Prepared) -> OutOfFoldPredictions:
    """With the shape of the mean's masks; for candidates that predict masks beside classes.

    The networks never saw the images; the mean's temperatures and threshold, a handful of numbers, are fitted on all
    rows, so that they are not quite held out where combiners are cross-fitted.
    """
    mean, _ = fits.whole().fit("mean")
    return replace(fits.held_out, shape=features(mean, fits.held_out, data))


def _of_one(combination: Combination) -> Combination:
    if combination.masks is None or len(combination.masks.temperatures) != 1 or combination.masks.weights != (1.0,):
        raise ValueError("masks: not of one member")
    return combination


@dataclass(frozen=True)
class KeptSegmenter:
    """The best single candidate of a segmentation ensemble, as `members.json` has it: its checkpoints by fold."""

    task: str
    data_fingerprint: str
    keep_aspect: bool
    mirrored: bool
    name: str
    image_size: Side
    checkpoints: dict[Annotated[str, Field(pattern=r"^[0-9]{1,3}$")], str]
    combination: Annotated[Combination, AfterValidator(_of_one)]
    encoder_weights: str = ""


def keep(members: Sequence[Member], best: Combination, team: MemberTrainer) -> None:
    """Leave the best single candidate for ensembles of the other tasks: its models, and its calibration."""
    assert best.masks
    (position,) = best.members
    masks = best.masks
    head = Head((masks.temperatures[position],), (1.0,), masks.temperature, threshold=masks.threshold)
    member = members[position]
    kept = KeptSegmenter(
        task=team.task.name,
        data_fingerprint=team.data.data_fingerprint,
        keep_aspect=team.data.keep_aspect,
        mirrored=team.tta,
        name=member.name,
        image_size=member.size,
        checkpoints={str(fold): os.path.relpath(path, team.search.home) for fold, path in member.checkpoints.items()},
        combination=Combination("best", masks=head),
        encoder_weights=member.encoder_weights,
    )
    write_text(team.search.files.segmenter, json.dumps(asdict(kept), indent=2))


def find(storage: Path, team: MemberTrainer, folds: Collection[int]) -> Segmenter | None:
    """What the newest segmentation ensemble of the same data left in this storage folder, if one has these folds."""
    files = sorted(storage.glob(f"*/{NAMES.segmenter}"), key=lambda file: -file.stat().st_mtime)
    for file in files:
        try:
            kept = stored.read_finite(file, KeptSegmenter)
        except DamagedError as error:
            say(f"shape     left out: {error}")
            continue
        own = (kept.data_fingerprint, kept.keep_aspect, kept.mirrored)
        if kept.task != "seg" or own != (team.data.data_fingerprint, team.data.keep_aspect, team.tta):
            continue
        checkpoints = {int(fold): storage / path for fold, path in kept.checkpoints.items()}
        there = all((path / checkpoint.WEIGHTS).is_file() for path in checkpoints.values())
        if not there or not checkpoints.keys() >= set(folds):
            continue
        data = team.data_at(kept.image_size)
        return Segmenter(Member(kept.name, checkpoints, data, False, kept.encoder_weights), kept.combination)
    return None


def with_segmenter(
    held: OutOfFoldPredictions, segmenter: Segmenter, team: MemberTrainer, *, test: bool = False
) -> OutOfFoldPredictions:
    """With the shape of a segmenter's masks, each by the model that did not see the image."""
    if test:
        said = on_test(team.task, [segmenter.member], 1, team.workers, tta=team.tta, needed=[0])
    else:
        models = {fold: segmenter.member.checkpoints[fold] for fold in np.unique(held.folds).tolist()}
        said = held_out(team.task, [replace(segmenter.member, checkpoints=models)], 1, team.workers, tta=team.tta)
    assert said.digests == held.digests
    return replace(held, shape=features(segmenter.combination, said, segmenter.member.data))
