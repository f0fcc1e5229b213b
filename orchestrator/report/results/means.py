"""What a model got right, image by image, and means of it with intervals over resamples of groups within classes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from orchestrator.rendering.document import Figure
from orchestrator.rendering.numbers import counted, with_interval
from orchestrator.report.results.subject import ModelResults
from orchestrator.scoring.final_scores import ModelScores
from orchestrator.scoring.metrics import lesions
from orchestrator.scoring.predictions import TestPredictions
from orchestrator.scoring.resampling import INTERVAL, ROUNDING, enough, interval, resample_counts, telling_interval
from orchestrator.scoring.uncertainty import errors
from orchestrator.scoring.values import ScoredPredictions, dice_by_image

#: What `by_image` gives, in words.
WORDS = {"dice": "Dice", "right": "accuracy", "alarm": "false alarms"}
#: What each is a mean of.
OF = {"dice": "images with a lesion", "right": "images of known class", "alarm": "images without a lesion"}


class Mean(NamedTuple):
    """A mean of n images, or the difference of two, with its interval of 95 % (NaN where there is none)."""

    value: float
    low: float
    high: float
    n: int

    @property
    def known(self) -> bool:
        """Whether there is an interval."""
        return bool(np.isfinite(self.low))

    @property
    def apart(self) -> bool:
        """Whether there is an interval, and it excludes 0."""
        return self.known and not self.low <= 0 <= self.high

    def words(self, digits: int = 3, sign: bool = False) -> str:
        """`0.708 (0.637 to 0.775)`; `-` of nothing."""
        return with_interval(self.value, (self.low, self.high), digits, sign)

    def figure(self, name: str, of: str = "images", sign: bool = False) -> Figure:
        """It, as a sentence rests on it."""
        return Figure(name, self.value, (self.low, self.high), self.n, of, sign)


def by_image(tested: TestPredictions) -> dict[str, np.ndarray]:
    """What was right of each image, float64 [N], NaN where it does not apply.

    Returns:
        `dice`: of images with a known lesion. `right`: 1 where the likeliest class is the true one, else 0, of images
        of known class. `alarm`: 1 where a lesion is predicted, else 0, of images known to have none. Those that the
        task does not predict are all NaN.
    """
    scored = tested.evidence.scored
    found = {name: np.full(len(tested), np.nan) for name in WORDS}
    if scored.probabilities is not None:
        known = scored.targets >= 0
        found["right"][known] = scored.probabilities[known].argmax(1) == scored.targets[known]
    if scored.counts is not None:
        lesion = lesions(scored)
        values = dice_by_image(scored.counts)
        found["dice"][lesion] = values[lesion]
        normal = scored.has_mask & ~lesion
        found["alarm"][normal] = 1 - values[normal]
    return found


def lesions_unknown(scored: ScoredPredictions) -> bool:
    """Whether masks are known, but that of no lesion, while images of unknown mask may have one."""
    if scored.counts is None or not scored.has_mask.any() or scored.has_mask.all():
        return False
    return not scored.counts[scored.has_mask][:, [0, 2]].any()


class Resampled:
    """Means over parts of N images, all from the same `INTERVAL` resamples of groups within classes.

    Args:
        groups, labels: int64 [N], as for `resamples`.
    """

    def __init__(self, groups: np.ndarray, labels: np.ndarray) -> None:
        self._groups = groups
        self._times = _times(groups.astype(np.int64).tobytes(), labels.astype(np.int64).tobytes())

    @classmethod
    def of(cls, tested: TestPredictions) -> Resampled:
        """Of the images of these predictions."""
        return cls(tested.evidence.groups, tested.evidence.labels)

    def mean(self, values: np.ndarray, part: np.ndarray) -> Mean:
        """Mean of the values, float64 [N], NaN where there is none, over a part of the images, bool [N].

        There is no interval where the part has fewer than `FEWEST_GROUPS` groups with a value, or where its mean is the
        same on all resample_counts, of which a bootstrap can say nothing.
        """
        used = part & np.isfinite(values)
        if not used.any():
            return Mean(np.nan, np.nan, np.nan, 0)
        bounds = np.nan, np.nan
        if enough(self._groups, [used]):
            bounds = telling_interval(self._draws(values, used))
        return Mean(float(values[used].mean()), *bounds, int(used.sum()))

    def difference(self, values: np.ndarray, a: np.ndarray, b: np.ndarray) -> Mean:
        """The mean over part `a` minus that over part `b`, bool [N] each; n counts both.

        There is no interval where one of them has fewer than `FEWEST_GROUPS` groups with a value, or where the values
        of both together are alike. Either may be alike in itself: a part that is all wrong is told from others.
        """
        a, b = (part & np.isfinite(values) for part in (a, b))
        if not a.any() or not b.any():
            return Mean(np.nan, np.nan, np.nan, 0)
        value = float(values[a].mean() - values[b].mean())
        bounds = np.nan, np.nan
        if enough(self._groups, [a, b]) and np.ptp(values[a | b]) > ROUNDING:
            bounds = interval(self._draws(values, a) - self._draws(values, b))
        return Mean(value, *bounds, int(a.sum() + b.sum()))

    def _draws(self, values: np.ndarray, used: np.ndarray) -> np.ndarray:
        """The mean on each resample, float64 [INTERVAL]; NaN on one that has none of these images."""
        count = self._times @ used.astype(np.float64)
        total = self._times @ np.where(used, values, 0)
        means: np.ndarray = np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)
        return means


@lru_cache(maxsize=2)  # the models of a page were mostly asked about the same images
def _times(groups: bytes, labels: bytes) -> np.ndarray:
    """How often each of N images is in each resample, float64 [INTERVAL,N], for `groups` and `labels`, int64 [N]."""
    return resample_counts(np.frombuffer(groups, np.int64), np.frombuffer(labels, np.int64), INTERVAL, 0)


def counted_images(tested: TestPredictions) -> str:
    """`122 images in 110 groups`."""
    return f"{counted(len(tested), 'image')} in {counted(len(np.unique(tested.evidence.groups)), 'group')}"


def counted_kinds(tested: TestPredictions) -> str:
    """`100 images with a lesion, 22 without`; empty without masks."""
    scored = tested.evidence.scored
    if scored.counts is None:
        return ""
    lesion = lesions(scored)
    without = int((scored.has_mask & ~lesion).sum())
    words = "with a lesion" if scored.has_mask.all() else "with a known lesion mask"
    return f"{counted(int(lesion.sum()), 'image')} {words}, {without:,} without"


def by_title(words: Mapping[str, str]) -> str:
    """What holds of each model, once if it is the same of all: `seg: 122 images; cls: 101 images`."""
    if not words:
        return ""
    if len(set(words.values())) == 1:
        return next(iter(words.values()))
    return "; ".join(f"{title}: {text}" for title, text in words.items())


def error_area(subject: ModelResults) -> Mean:
    """Chance that an error is less certain than an image that is right, with an interval as others have one.

    NaN where there is either none that is wrong or none that is right; n is 0 where no outcome is known.
    """
    wrong, known = errors(subject.tested.evidence.scored)
    found = subject.figures.uncertainty
    if not found or found.auroc_for_errors is None:
        return Mean(np.nan, np.nan, np.nan, int(known.sum()))
    told = enough(subject.tested.evidence.groups, [wrong & known, ~wrong & known])
    low, high = found.interval if told and found.interval else (np.nan, np.nan)
    if high - low < ROUNDING:
        low = high = np.nan  # it never varied
    return Mean(found.auroc_for_errors, low, high, int(known.sum()))


def value_of(figures: ModelScores, name: str) -> Mean | None:
    """A metric of these; None where it is not there. n is not known there, and 0."""
    found = figures.scores.get(name)
    return Mean(found.value, *(found.interval or (np.nan, np.nan)), 0) if found else None
