"""Models and their predictions that were made up, so that the right answer is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from orchestrator.report.results.subject import ImageFiles, ModelResults
from orchestrator.scoring.final_scores import FinalScores, ModelScores
from orchestrator.scoring.measure import Images, Predicted, confusion, measure, scores
from orchestrator.scoring.metrics import PRIMARY
from orchestrator.scoring.operating_points import OperatingPoint, apply_thresholds
from orchestrator.scoring.packed_masks import PackedMasks
from orchestrator.scoring.predictions import TestPredictions
from orchestrator.scoring.resampling import Estimate
from orchestrator.scoring.uncertainty import usefulness
from trainables.data import CLASSES

#: Pixels of an image's side.
SIDE = 20


def mask(pixels: int, start: int = 0) -> np.ndarray:
    """A mask of so many pixels, bool [SIDE,SIDE], counted from `start` in reading order."""
    flat = np.zeros(SIDE * SIDE, bool)
    flat[start : start + pixels] = True
    return flat.reshape(SIDE, SIDE)


def sure(likeliest: Sequence[int], chance: float = 0.9, classes: int = 3) -> np.ndarray:
    """Probabilities, float64 [N,K], of which the likeliest class has so much, and the others the rest alike."""
    found = np.full((len(likeliest), classes), (1 - chance) / (classes - 1))
    found[np.arange(len(likeliest)), likeliest] = chance
    return found


def subject(
    task: str,
    labels: Sequence[int],
    *,
    probabilities: np.ndarray | None = None,
    true: Sequence[np.ndarray] | None = None,
    predicted: Sequence[np.ndarray] | None = None,
    title: str = "",
    groups: Sequence[int] | None = None,
    has_mask: Sequence[bool] | None = None,
    uncertainty: Sequence[float] | None = None,
    points: Sequence[OperatingPoint] = (),
    digests: Sequence[str] | None = None,
    images: Mapping[str, ImageFiles] | None = None,
    beside: Mapping[str, Any] | None = None,
    **more: Any,
) -> ModelResults:
    """A model; intervals of its metrics are .1 to either side, so that no test waits for resamples.

    Args:
        labels: index into `CLASSES`. true, predicted: masks for seg and multi. beside: what `FinalScores` adds.
        more: what else is known of the model.
    """
    n = len(labels)
    known = np.array(labels)
    classes = () if probabilities is None else CLASSES[-probabilities.shape[1] :]
    targets = np.full(n, -1) if not classes else np.maximum(known - len(CLASSES) + len(classes), -1)
    originals = None if true is None else PackedMasks(list(true))
    planes = None if predicted is None else np.stack([np.where(one, 1.0, -1.0) for one in predicted])
    masked = np.full(n, true is not None) if has_mask is None else np.array(has_mask)
    truth = Images(targets, masked, originals, False, known, np.arange(n) if groups is None else np.array(groups))
    measured = measure(Predicted(probabilities, planes), truth)
    unsure = np.zeros(n) if uncertainty is None else np.array(uncertainty, float)
    names = [f"{i:064x}" for i in range(n)] if digests is None else list(digests)
    found = {
        name: Estimate(value=value, interval=(value - 0.1, value + 0.1))
        for name, value in scores(task, measured).items()
    }
    own: dict[str, Any] = vars(found[PRIMARY[task]]) if PRIMARY[task] in found else {}
    figures = (FinalScores if beside else ModelScores)(
        metric=PRIMARY[task],
        **own,
        scores=found,
        confusion=confusion(measured),
        operating_points=apply_thresholds(points, measured.scored),
        uncertainty=usefulness(unsure, measured.scored, np.ones((1, n))),
        **(beside or {}),
    )
    tested = TestPredictions.of(measured, truth, names, unsure)
    return ModelResults(task, title or task, classes, tested, figures, images or {}, **more)


def files(folder: Path, true: Sequence[np.ndarray], names: Sequence[str] = ()) -> dict[str, ImageFiles]:
    """Image and mask files of images in this order, by digest."""
    found = {}
    for i, one in enumerate(true):
        image, truth = folder / f"image-{i}.png", folder / f"mask-{i}.png"
        cv2.imwrite(str(image), np.full((SIDE, SIDE), 128, np.uint8))
        cv2.imwrite(str(truth), one.astype(np.uint8) * 255)
        found[f"{i:064x}"] = ImageFiles(names[i] if names else f"folder/image-{i}.png", image, (truth,))
    return found


def with_columns(count: int, columns: Mapping[str, Sequence[str]]) -> dict[str, ImageFiles]:
    """Images of which nothing but the sub-groups can be read."""
    rows = [{name: values[i] for name, values in columns.items()} for i in range(count)]
    return {f"{i:064x}": ImageFiles(f"{i}.png", Path("nowhere"), (), row) for i, row in enumerate(rows)}
