"""What a model may be called, by its figures alone: a floor that it must clear, and what it must do to be of use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import BaseModel, computed_field

from orchestrator.scoring.checks import Check, class_checks, mask_checks
from orchestrator.scoring.operating_points import OperatingPoint
from orchestrator.scoring.resampling import FEWEST_GROUPS, INTERVAL, resample_counts
from orchestrator.scoring.values import ScoredPredictions

Word = Literal["not usable", "cannot be told", "weak", "usable for research"]
NOT_USABLE: Word = "not usable"
UNTOLD: Word = "cannot be told"
WEAK: Word = "weak"
USABLE: Word = "usable for research"


class Judgement(BaseModel, frozen=True):
    """What a model may be called by its figures on some images, and each figure."""

    word: Word
    checks: tuple[Check, ...]

    @property
    def because(self) -> str:
        """What the word rests on, for a person."""
        if self.word == USABLE:
            return "; ".join(check.claim for check in self.checks if check.floor)
        side = "unknown" if self.word == UNTOLD else "against"
        floor = self.word in (NOT_USABLE, UNTOLD)
        why = "; ".join(check.claim for check in self.checks if check.side == side and check.floor == floor)
        return f"{why}; of fewer than {FEWEST_GROUPS} groups" if why and self.word == UNTOLD else why

    @property
    def line(self) -> str:
        """The word and why, for a person."""
        return f"{self.word}: {self.because or 'nothing is there that a verdict rests on'}"


class Verdict(BaseModel, frozen=True):
    """What a model may be called: by held-out images, which the test may lower and never raises."""

    word: Word
    held_out: Judgement
    test: Judgement | None = None

    @classmethod
    def of(cls, held_out: Judgement, test: Judgement | None) -> Verdict:
        """Both together. What cannot be told of the test images changes nothing."""
        words: list[Word] = [NOT_USABLE, UNTOLD, WEAK, USABLE]
        word = held_out.word
        if test and test.word != UNTOLD:
            word = min(word, test.word, key=words.index)
        return cls(word=word, held_out=held_out, test=test)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def line(self) -> str:
        """The word and why, for a person."""
        lowered = self.test if self.test and self.word != self.held_out.word else None
        return f"{self.word}: {(lowered or self.held_out).because}{' (test images)' if lowered else ''}"

    @property
    def clears_the_floor(self) -> bool:
        """Whether it may become champion by itself."""
        return self.word in (WEAK, USABLE)


def judge(
    scored: ScoredPredictions,
    groups: np.ndarray,
    labels: np.ndarray,
    trivial: tuple[str, np.ndarray] | None = None,
    points: Sequence[OperatingPoint] = (),
    seed: int = 0,
) -> Judgement:
    """The word that figures on N images earn, METHODS "Verdict" in docs/methods.md.

    Args:
        scored: predictions; of seg, cls or multi by what they hold. groups, labels: int64 [N], as for `resamples`.
        trivial: the best trivial prediction, and its Dice on each image, float64 [N]; None without masks.
        points: operating points that ship with the model.
    """
    counts = resample_counts(groups, labels, INTERVAL, seed)
    checks: list[Check] = []
    if scored.counts is not None and trivial is not None:
        checks += mask_checks(scored, groups, counts, trivial)
    if scored.probabilities is not None:
        checks += class_checks(scored, groups, counts, points)
    floor = [check.side for check in checks if check.floor]
    word = USABLE
    if any(check.side == "against" for check in checks):
        word = WEAK
    if "unknown" in floor or not floor:
        word = UNTOLD
    if "against" in floor:
        word = NOT_USABLE
    return Judgement(word=word, checks=tuple(checks))
