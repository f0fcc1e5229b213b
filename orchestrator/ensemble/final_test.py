"""The one look at the test images: the winner beside the best single candidate, as the product will predict."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from orchestrator.ensemble import lesion_shape
from orchestrator.ensemble.combiners import fit
from orchestrator.ensemble.finalists import Finalists
from orchestrator.ensemble.held_out import OutOfFoldPredictions
from orchestrator.ensemble.judging import judge_test
from orchestrator.ensemble.member import Member
from orchestrator.ensemble.member_predictions import on_test
from orchestrator.ensemble.result import Retraining, TestResult
from orchestrator.inference.combination import Combination
from orchestrator.inference.prediction import UNUSABLE
from orchestrator.inference.predictor import Predictor
from orchestrator.inference.triage import Triage
from orchestrator.scoring.final_scores import final_scores
from orchestrator.scoring.measure import Images, Predicted, measure
from orchestrator.scoring.operating_points import OperatingPoint, apply_thresholds
from orchestrator.scoring.predictions import TEST, UNREADABLE, TestPredictions
from orchestrator.scoring.triage import apply as apply_triage
from orchestrator.scoring.values import primary
from orchestrator.storage.atomic import write_text
from trainables.data.pixels import read_image, to_original_size
from trainables.stored import read_finite

if TYPE_CHECKING:
    from orchestrator.ensemble.members import MemberTrainer

#: The figures of a winner, beside its predictions.
FIGURES = "test.json"
#: Differences between the product and what is scored above which they are not the same model: of a probability, and as
#: a share of an image's pixels. Half precision, of stored planes and on a GPU, stays far below.
PROBABILITY, PIXELS = 0.1, 0.05


def stored(home: Path, points: Sequence[OperatingPoint] = (), triage: Triage | None = None) -> TestResult | None:
    """The result of a winner whose test images were scored already; with thresholds of now, if any are given."""
    try:
        scored = TestPredictions.load(home / TEST).evidence.scored
        found = read_finite(home / FIGURES, TestResult)
    except UNREADABLE:
        return None
    if not points:
        return found
    applied = {"operating_points": apply_thresholds(points, scored), "triage": apply_triage(triage, scored)}
    return found.model_copy(update=applied)


def score(
    team: MemberTrainer,
    finalists: Finalists,
    points: Sequence[OperatingPoint],
    triage: Triage | None,
    held: OutOfFoldPredictions,
    seed: int,
    home: Path,
) -> TestResult:
    """Score the winner on the test images, and keep figures and predictions in `home`.

    Args:
        points, triage: thresholds of held-out predictions. held: these, whose masks trivial ones are made of.
        home: the winner's folder, with the product in `ensemble`.

    Raises:
        UserError: a model cannot predict. RuntimeError: the product predicts something else.
    """
    combination, single = finalists.combinations
    said = _said(team, finalists, finalists.members, {*combination.members, *single.members})
    if combination.stack is not None and combination.stack.uses_shape:
        said = _with_shape(team, said, finalists)
    images = Images(said.targets, said.has_mask, said.originals, said.keep_aspect, said.labels, said.groups)
    predicted, other = (_predicted(one, said) for one in (combination, single))
    unsure = _ask_product(home / "ensemble", team, said, predicted)
    scores = final_scores(team.task.name, predicted, other, images, unsure, points, seed)
    measured = measure(predicted, images)
    judgement = judge_test(measured.scored, images, held, points, seed)
    told = {**vars(scores), "triage": apply_triage(triage, measured.scored)}
    found = TestResult(**told, retraining=_retraining(team, finalists, said), judgement=judgement)
    TestPredictions.of(measured, images, said.digests, unsure).save(home / TEST)
    # How often these images were scored is asked each time.
    write_text(home / FIGURES, found.model_dump_json(indent=2, exclude={"times_scored"}))
    return found


def _said(
    team: MemberTrainer, finalists: Finalists, members: Sequence[Member], needed: Iterable[int]
) -> OutOfFoldPredictions:
    asked = sorted(needed)
    return on_test(team.task, members, finalists.candidates, team.workers, tta=team.tta, needed=asked)


def _retraining(team: MemberTrainer, finalists: Finalists, whole: OutOfFoldPredictions) -> Retraining:
    combination, values = finalists.combinations[0], []
    for fold in finalists.members[0].checkpoints:
        alone = [replace(member, checkpoints={fold: member.checkpoints[fold]}) for member in finalists.members]
        said = _said(team, finalists, alone, combination.members)
        if combination.stack is not None and combination.stack.uses_shape:
            # A segmentation ensemble beside it is not trained again with the fold.
            said = replace(said, shape=whole.shape) if finalists.segmenter else _with_shape(team, said, finalists)
        values.append(primary(team.task.name, fit.predict(combination, said)))
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Retraining(values=tuple(values), standard_deviation=spread)


def _with_shape(team: MemberTrainer, said: OutOfFoldPredictions, finalists: Finalists) -> OutOfFoldPredictions:
    if finalists.segmenter:
        return lesion_shape.with_segmenter(said, finalists.segmenter, team, test=True)
    return replace(said, shape=lesion_shape.features(finalists.combinations[0], said, team.data))


def _predicted(combination: Combination, said: OutOfFoldPredictions) -> Predicted:
    probabilities = None if said.class_logits is None else combination.probabilities(said.class_logits, said.shape)
    if said.planes is None or combination.masks is None:
        return Predicted(probabilities, None)
    planes = np.stack([combination.mask_logits(said.planes[:, i]) for i in range(len(said))])
    return Predicted(probabilities, planes, combination.masks.threshold)


def _ask_product(folder: Path, team: MemberTrainer, said: OutOfFoldPredictions, predicted: Predicted) -> np.ndarray:
    """The product's uncertainty of each test image, float64 [N], having seen that it says what is scored.

    Raises:
        RuntimeError: it says something else, or one of both is NaN or infinite.
    """
    product = Predictor.load(folder, "cpu")  # the driver has no share of a GPU
    place = {digest: row for row, digest in enumerate(team.data.image_digests)}
    unsure = np.empty(len(said))
    for i, digest in enumerate(said.digests):
        found = product.predict(read_image(Path(team.data.files[place[digest]])))
        if not found.usable:
            raise RuntimeError(f"the product: {UNUSABLE}: test image {digest[:16]}")
        if found.probabilities is not None and predicted.probabilities is not None:
            away = np.abs(found.probabilities - predicted.probabilities[i]).max()
            if not away <= PROBABILITY:  # nor NaN
                raise RuntimeError(f"the product differs from what is scored, by {away:.3f} of a probability")
        if found.mask is not None and predicted.planes is not None:
            scored = to_original_size(predicted.planes[i], *found.mask.shape, keep_aspect=said.keep_aspect)
            # NaN is above no threshold, and so would pass for a mask without a lesion.
            away = np.mean(found.mask != (scored > predicted.threshold)) if np.isfinite(scored).all() else np.nan
            if not away <= PIXELS:
                raise RuntimeError(f"the product differs from what is scored, by {away:.3f} of an image's pixels")
        unsure[i] = found.uncertainty
    return unsure
