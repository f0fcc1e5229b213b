"""Final scores of the winner on test images, with intervals, beside the best single candidate; for `ensemble.json`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel

from orchestrator.scoring import weighted
from orchestrator.scoring.calibration import Calibration, calibration
from orchestrator.scoring.measure import (
    ImageMetrics,
    Images,
    Predicted,
    confusion,
    detections,
    measure,
    resampled_scores,
    scores,
)
from orchestrator.scoring.metrics import PRIMARY, kinds, resampled
from orchestrator.scoring.net_benefit import DecisionCurve, decision_curve
from orchestrator.scoring.operating_points import AppliedPoint, OperatingPoint, apply_thresholds
from orchestrator.scoring.resampling import (
    INTERVAL,
    Estimate,
    enough,
    finite,
    interval,
    resample_counts,
    telling_interval,
)
from orchestrator.scoring.triage import AppliedTriage
from orchestrator.scoring.uncertainty import Usefulness, usefulness
from orchestrator.scoring.values import primary


class ModelScores(BaseModel, frozen=True):
    """All of the task's metrics of one model on some images.

    Attributes:
        metric: the primary one; its `value` and `interval` (95 %) are None where no image has what it rests on.
        scores: by name; without interval are boxes, the expected calibration error, what rests on a kind of image
            (`kinds`) of fewer than `FEWEST_GROUPS` groups, and what never varied.
        confusion: as the function of that name has it. operating_points: thresholds fitted elsewhere, applied here.
        uncertainty: of what use it is. triage: what the thresholds that ship do here. calibration, decision_curve: of
            the malignant probability. None where an older version wrote nothing of it, or it cannot be told.
    """

    metric: str
    value: float | None = None
    interval: tuple[float, float] | None = None
    scores: dict[str, Estimate] = {}
    confusion: dict[str, list[list[int]]] = {}
    operating_points: tuple[AppliedPoint, ...] = ()
    uncertainty: Usefulness | None = None
    triage: AppliedTriage | None = None
    calibration: Calibration | None = None
    decision_curve: DecisionCurve | None = None

    @property
    def primary(self) -> Estimate | None:
        """The primary metric as a page shows it: with an interval where every other metric would have one."""
        if self.value is None:
            return None
        return self.scores.get(self.metric, Estimate(value=self.value))


class FinalScores(ModelScores, frozen=True):
    """The same of a winner, beside the best single candidate: its value, and the paired difference to it (95 %)."""

    best_single: float
    difference: float
    difference_interval: tuple[float, float]


def final_scores(
    task: str,
    winner: Predicted,
    best_single: Predicted,
    images: Images,
    uncertainty: np.ndarray,
    points: Sequence[OperatingPoint] = (),
    seed: int = 0,
) -> FinalScores:
    """All of the task's metrics at original size, with 95 % intervals from `INTERVAL` resamples of groups.

    Args:
        task: seg, cls or multi.
        winner, best_single: what the two models say of the images.
        images: the test images.
        uncertainty: of the winner, float [N].
        points: thresholds from held-out predictions, of `operating_thresholds`.
        seed: of the resamples, the same for both models.

    Raises:
        ValueError: the images lack what the primary metric rests on.
    """
    measured, other = measure(winner, images), measure(best_single, images).scored
    value, single = primary(task, measured.scored), primary(task, other)
    if not np.isfinite([value, single]).all():
        raise ValueError(f"{PRIMARY[task]} cannot be computed: these images have no lesion, or a single class")
    counts = resample_counts(images.groups, images.labels, INTERVAL, seed)
    draws, single_draws = (weighted.primary(task, one, counts) for one in (measured.scored, other))
    found = model_scores(task, measured, uncertainty, counts, points, images.groups)
    return FinalScores(
        **vars(found),
        best_single=single,
        difference=value - single,
        difference_interval=interval(draws - single_draws),
    )


def model_scores(
    task: str,
    measured: ImageMetrics,
    uncertainty: np.ndarray,
    counts: np.ndarray,
    points: Sequence[OperatingPoint] = (),
    groups: np.ndarray | None = None,
) -> ModelScores:
    """All of the task's metrics of one model, with 95 % intervals.

    Args:
        task: seg, cls or multi. measured: N images. uncertainty: float [N]. counts: of `resample_counts`, float64
            [B,N]; B is 0 for no intervals.
        points: as for `final_scores`. groups: of the images, int64 [N]; each is a group of its own unless said.
    """
    groups = np.arange(len(measured.scored)) if groups is None else groups
    value = primary(task, measured.scored)
    known = bool(np.isfinite(value))
    draws = weighted.primary(task, measured.scored, counts) if known else np.empty(0)
    boxes = {name: Estimate(value=found) for name, found in detections(measured).items()}
    return ModelScores(
        metric=PRIMARY[task],
        value=value if known else None,
        interval=finite(interval(draws)),
        scores=_with_intervals(task, measured, counts, groups) | boxes,
        confusion=confusion(measured),
        operating_points=apply_thresholds(points, measured.scored),
        uncertainty=usefulness(uncertainty, measured.scored, counts),
        calibration=calibration(measured.scored, groups, len(counts)),
        decision_curve=decision_curve(measured.scored, counts, groups),
    )


def _with_intervals(task: str, measured: ImageMetrics, counts: np.ndarray, groups: np.ndarray) -> dict[str, Estimate]:
    draws = resampled_scores(task, measured, counts)
    found = {}
    for name, value in scores(task, measured).items():
        told = resampled(name) and enough(groups, kinds(name, measured.scored))
        bounds = telling_interval(draws[name]) if told else (np.nan, np.nan)
        found[name] = Estimate(value=value, interval=finite(bounds))
    return found
