"""The one look at the test images: the winner beside the best single candidate, as the product will predict."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from orchestrator.ensemble import lesion_shape, promotion
from orchestrator.ensemble.combiners import fit
from orchestrator.ensemble.held_out import OutOfFoldPredictions
from orchestrator.ensemble.lesion_shape import Segmenter
from orchestrator.ensemble.member_predictions import Member, on_test
from orchestrator.ensemble.members import MemberTrainer
from orchestrator.inference.combination import Combination
from orchestrator.inference.predictor import Predictor
from orchestrator.scoring.final_scores import final_scores
from orchestrator.scoring.measure import Images, Predicted, measure
from orchestrator.scoring.metrics import primary
from orchestrator.scoring.operating_points import OperatingPoint, apply_thresholds
from orchestrator.scoring.predictions import TestPredictions
from orchestrator.storage.atomic import write_text
from trainables.data.pixels import read_image, to_original_size

#: The figures of a winner, beside its predictions.
FIGURES = "test.json"
#: Differences between the product and what is scored above which they are not the same model: of a probability, and as
#: a share of an image's pixels. Half precision, of stored planes and on a GPU, stays far below.
PROBABILITY, PIXELS = 0.1, 0.05


def stored(home: Path, points: Sequence[OperatingPoint] = ()) -> dict[str, Any] | None:
    """The figures of a winner whose test images were scored already; with operating points of now, if any are given."""
    try:
        scored = TestPredictions.load(home / promotion.TEST).evidence.scored
        found: dict[str, Any] = json.loads((home / FIGURES).read_text())
    except (
        OSError,
        ValueError,
        KeyError,
        EOFError,
        BadZipFile,
        zlib.error,
    ):  # not there, damaged, or of an older version
        return None
    applied = [point.model_dump(mode="json") for point in apply_thresholds(points, scored)]
    return found | ({"operating_points": applied} if points else {})


def score(
    team: MemberTrainer,
    members: Sequence[Member],
    candidates: int,
    combination: Combination,
    single: Combination,
    segmenter: Segmenter | None,
    points: list[OperatingPoint],
    seed: int,
    home: Path,
) -> dict[str, Any]:
    """Score the winner on the test images, and keep figures and predictions in `home`.

    Args:
        combination, single: the winner, and the best single candidate.
        points: operating points of held-out predictions.
        home: the winner's folder, with the product in `ensemble`.

    Raises:
        UserError: a model cannot predict. RuntimeError: the product predicts something else.
    """
    needed = sorted({*combination.members, *single.members})
    said = on_test(team.task, members, candidates, team.workers, mirrored=team.mirrored, needed=needed)
    if combination.stack is not None and combination.stack.uses_shape:
        said = _with_shape(team, said, combination, segmenter)
    images = Images(said.targets, said.has_mask, said.originals, said.keep_aspect, said.labels, said.groups)
    predicted, other = (_predicted(one, said) for one in (combination, single))
    unsure = _ask_product(home / "ensemble", team, said, predicted)
    found = final_scores(team.task.name, predicted, other, images, unsure, points, seed).to_json()
    found["retraining"] = _retraining(team, members, candidates, combination, segmenter, said)
    TestPredictions.of(measure(predicted, images), images, said.digests, unsure).save(home / promotion.TEST)
    write_text(home / FIGURES, json.dumps(found, indent=2))
    return found


def _retraining(
    team: MemberTrainer,
    members: Sequence[Member],
    candidates: int,
    combination: Combination,
    segmenter: Segmenter | None,
    whole: OutOfFoldPredictions,
) -> dict[str, Any]:
    """The primary metric with each fold's models alone, and its standard deviation: what training again changes."""
    values = []
    for fold in members[0].checkpoints:
        alone = [replace(member, checkpoints={fold: member.checkpoints[fold]}) for member in members]
        needed = list(combination.members)
        said = on_test(team.task, alone, candidates, team.workers, mirrored=team.mirrored, needed=needed)
        if combination.stack is not None and combination.stack.uses_shape:
            # A segmentation ensemble beside it is not trained again with the fold.
            said = replace(said, shape=whole.shape) if segmenter else _with_shape(team, said, combination, None)
        scored = fit.predict(combination, said)
        values.append(primary(team.task.name, scored))
    return {"values": values, "standard_deviation": float(np.std(values, ddof=1)) if len(values) > 1 else None}


def _with_shape(
    team: MemberTrainer, said: OutOfFoldPredictions, combination: Combination, segmenter: Segmenter | None
) -> OutOfFoldPredictions:
    if segmenter:
        return lesion_shape.with_segmenter(said, segmenter, team, test=True)
    return replace(said, shape=lesion_shape.features(combination, said, team.data))


def _predicted(combination: Combination, said: OutOfFoldPredictions) -> Predicted:
    probabilities = None if said.class_logits is None else combination.probabilities(said.class_logits, said.shape)
    if said.planes is None or combination.masks is None:
        return Predicted(probabilities, None)
    planes = np.stack([combination.mask_logits(said.planes[:, i]) for i in range(len(said))])
    return Predicted(probabilities, planes, combination.masks.threshold)


def _ask_product(folder: Path, team: MemberTrainer, said: OutOfFoldPredictions, predicted: Predicted) -> np.ndarray:
    """The product's uncertainty of each test image, float64 [N], having seen that it says what is scored.

    Raises:
        RuntimeError: it says something else.
    """
    product = Predictor.load(folder)
    place = {digest: row for row, digest in enumerate(team.data.image_digests)}
    unsure = np.empty(len(said))
    for i, digest in enumerate(said.digests):
        found = product.predict(read_image(Path(team.data.files[place[digest]])))
        if found.probabilities is not None and predicted.probabilities is not None:
            away = np.abs(found.probabilities - predicted.probabilities[i]).max()
            if away > PROBABILITY:
                raise RuntimeError(f"the product differs from what is scored, by {away:.3f} of a probability")
        if found.mask is not None and predicted.planes is not None:
            scored = to_original_size(predicted.planes[i], *found.mask.shape, keep_aspect=said.keep_aspect)
            away = np.mean(found.mask != (scored > predicted.threshold))
            if away > PIXELS:
                raise RuntimeError(f"the product differs from what is scored, by {away:.3f} of an image's pixels")
        unsure[i] = found.uncertainty
    return unsure
