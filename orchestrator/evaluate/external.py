"""External validation: what a model says of images that are new to it, and how right that is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np

from orchestrator.common.console import threads
from orchestrator.evaluate.findings import EXTERNAL
from orchestrator.evaluate.judging import shrunk
from orchestrator.evaluate.leakage import Progress, UnseenImages
from orchestrator.inference.description import Description
from orchestrator.inference.prediction import UNUSABLE
from orchestrator.inference.predictor import Outputs, Predictor, batches
from orchestrator.report.results.means import lesions_unknown
from orchestrator.report.results.subject import ModelResults, shown
from orchestrator.scoring.final_scores import ModelScores, model_scores
from orchestrator.scoring.measure import ImageMetrics, Images, Predicted, measure
from orchestrator.scoring.metrics import METRICS
from orchestrator.scoring.operating_points import OperatingPoint
from orchestrator.scoring.packed_masks import PackedMasks, read
from orchestrator.scoring.predictions import TestPredictions
from orchestrator.scoring.resampling import FEWEST_GROUPS, INTERVAL, resample_counts
from orchestrator.scoring.triage import apply as apply_triage
from trainables.data import Manifest, Record, is_phantom
from trainables.data.pixel_budget import within_budget

#: Figures of masks that say nothing where lesions are among the images, but the mask of none is known.
OF_LESIONS = {name for name, metric in METRICS.items() if metric.part == "masks"} - {"fpr_normal"}


class Answers(NamedTuple):
    """What a model said of N images: of those that it gave numbers for, figures, and uncertainty, float64 [N].

    `truth` has true masks of `judging.shrunk`; None for cls.
    """

    fresh: UnseenImages
    measured: ImageMetrics
    uncertainty: np.ndarray
    truth: PackedMasks | None


def ask(ensemble: Predictor, fresh: UnseenImages, progress: Progress) -> Answers:
    """What a model says of the images, measured at original size with its own thresholds; and how unsure it is.

    Never more images than `batches` gives are in memory; of the others figures are kept, and masks, a bit a pixel.

    Raises:
        UserError: a file cannot be read any more, or the model gives no number for any image.
    """
    found: list[_One | None] = []
    with ThreadPoolExecutor(threads()) as pool:
        for numbers in batches([row.outcome.height * row.outcome.width for row in fresh.rows]):
            files = list(pool.map(_read, [fresh.rows[i].record for i in numbers]))
            outputs = ensemble.forward([image for image, _ in files])
            found += pool.map(partial(_measure, ensemble, fresh), numbers, files, outputs)
            progress(len(found), len(fresh.rows))
    usable = [one for one in found if one]
    if len(usable) < len(found):
        fresh = fresh.answered(np.array([one is not None for one in found]), UNUSABLE)
    masks = ensemble.description.main.combination.masks
    return Answers(
        fresh,
        ImageMetrics.join([one.measured for one in usable]),
        np.array([one.uncertainty for one in usable]),
        PackedMasks.join([one.truth for one in usable]) if masks else None,
    )


def as_subject(
    description: Description,
    fresh: UnseenImages,
    measured: ImageMetrics,
    unsure: np.ndarray,
    manifest: Manifest,
    seed: int = 0,
) -> ModelResults:
    """The external result, as pages show one.

    Args:
        seed: of the resamples; the default is that of ensembles, so that the same images give the same intervals.
    """
    images = Images(fresh.targets, fresh.has_mask, None, description.keep_aspect, fresh.labels, fresh.groups)
    digests = _told_apart([row.outcome.image_digest for row in fresh.rows])
    # A bootstrap of very few groups says nothing.
    few = len(np.unique(fresh.groups)) < FEWEST_GROUPS
    drawn = resample_counts(fresh.groups, fresh.labels, 0 if few else INTERVAL, seed)
    points = [OperatingPoint.model_validate(point) for point in description.operating_points]
    found = _clean(model_scores(description.task, measured, unsure, drawn, points, fresh.groups), measured)
    found = found.model_copy(update={"triage": apply_triage(description.triage, measured.scored)})
    synthetic = description.synthetic or any(is_phantom(one.root) for one in manifest.datasets)
    tested = TestPredictions.of(measured, images, digests, unsure)
    files = shown([row.record for row in fresh.rows], manifest)
    by_digest = dict(zip(digests, files, strict=True))
    return ModelResults(description.task, EXTERNAL, description.classes, tested, found, by_digest, synthetic=synthetic)


def _told_apart(digests: Sequence[str]) -> list[str]:
    """The digests, where one occurs again with a number: the same image may stand there with other masks."""
    times: Counter[str] = Counter()
    found = []
    for digest in digests:
        times[digest] += 1
        found.append(digest if times[digest] == 1 else f"{digest}-{times[digest]}")
    return found


def _read(record: Record) -> tuple[np.ndarray, np.ndarray]:
    """An image, uint8 [H,W], and the union of its masks, bool [H,W]."""
    image, masks = read(str(record.image), list(map(str, record.masks)))
    merged = np.zeros(image.shape, bool)
    for mask in masks:
        merged |= mask
    return image, merged


class _One(NamedTuple):
    measured: ImageMetrics
    uncertainty: float
    truth: PackedMasks


@within_budget()
def _measure(
    ensemble: Predictor, fresh: UnseenImages, row: int, files: tuple[np.ndarray, np.ndarray], outputs: Outputs
) -> _One | None:
    """One image, as the product predicts it and as the test images were measured; None without a prediction."""
    image, truth = files
    said = ensemble.finish(image, outputs)
    if not said.usable:
        return None
    masks = ensemble.description.main.combination.masks
    predicted = Predicted(
        None if said.probabilities is None else said.probabilities[None],
        ensemble.plane(outputs)[None] if masks else None,
        masks.threshold if masks else 0.0,
    )
    here = np.array([row])
    images = Images(
        targets=fresh.targets[here],
        has_mask=fresh.has_mask[here],
        originals=PackedMasks([truth]) if masks else None,
        keep_aspect=ensemble.description.keep_aspect,
        labels=fresh.labels[here],
        groups=fresh.groups[here],
    )
    return _One(measure(predicted, images), said.uncertainty, PackedMasks([shrunk(truth)]))


def _clean(found: ModelScores, measured: ImageMetrics) -> ModelScores:
    """Figures without those that have only a part to rest on.

    These are a score of two parts that has only one; and what is told of lesions where `lesions_unknown`: a mean of
    normals alone would stand there as one of all images.
    """
    left_out = OF_LESIONS if lesions_unknown(measured.scored) else set[str]()
    if found.metric == "score" and not {"dice", "auroc"} <= found.scores.keys() - left_out:
        left_out = left_out | {"score"}
        found = found.model_copy(update={"value": None, "interval": None})
    kept = {name: one for name, one in found.scores.items() if name not in left_out}
    return found.model_copy(update={"scores": kept})
