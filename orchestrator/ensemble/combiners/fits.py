"""All fits of one held-out set: on all rows, and on all but a fold's. Each one is made once, whoever asks for it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from orchestrator.common.console import threads
from orchestrator.ensemble.combiners.fit import CombinerFit, KnownRows, mask_logits, predict, without_planes
from orchestrator.ensemble.combiners.mask_threshold import counts_above
from orchestrator.ensemble.combiners.objectives import ClassObjective, MaskObjective, sample_pixels
from orchestrator.ensemble.held_out import OutOfFoldPredictions
from orchestrator.inference.combination import Combination, Head
from orchestrator.scoring.values import ScoredPredictions

T = TypeVar("T")


class Fits:
    """Combiners of held-out predictions, and what they predict: of all rows, or of a fold's, fitted on the others.

    What is kept is small: temperatures, weights, thresholds, and the counts of masks. Logits are scaled anew.

    Args:
        seed: of the pixels that are drawn, and of what is random in a combiner.
        earlier: fits of the same rows and first members, before there were more members, or lesion shape. What those
            have found holds here too.
    """

    def __init__(self, held_out: OutOfFoldPredictions, seed: int = 0, earlier: Fits | None = None) -> None:
        self.held_out, self.seed = held_out, seed
        self._found: dict[Hashable, Any] = earlier._found if earlier else {}

    def whole(self) -> CombinerFit:
        """Combiners fitted on all rows.

        Raises:
            ValueError: no row's class is known, or no row's mask.
        """
        return self._fit(None)

    def without(self, fold: int) -> CombinerFit:
        """Combiners fitted on all rows but those of a fold; raises as `whole`."""
        return self._fit(fold)

    def rows(self, fold: int | None) -> np.ndarray:
        """The rows (int64) of a fold, or all of them."""
        return np.flatnonzero(self.held_out.folds == fold) if fold is not None else np.arange(len(self.held_out))

    def predict(self, combination: Combination, fold: int | None = None) -> ScoredPredictions:
        """What a combination, fitted on all rows or without the fold, predicts for all of them, or for the fold's."""
        rows, masks, planes, counts = self.rows(fold), combination.masks, self.held_out.planes, None
        held_out = without_planes(self.held_out).take(rows)
        if planes is not None and masks:
            used = len(np.trim_zeros(masks.weights, "b"))
            alike = replace(masks, weights=masks.weights[:used], temperatures=masks.temperatures[:used])
            counts = self._once(
                (fold, alike), lambda: counts_above(masks.threshold, mask_logits(masks, planes, rows), held_out)
            )
        return predict(combination, held_out, counts)

    def losses(self, combination: Combination, fold: int) -> np.ndarray:
        """What boosting makes small, of each row of a fold, float64 [N]: the losses of its heads; 0 where nothing is
        known."""
        rows = self.rows(fold)
        found = np.zeros(len(rows))
        for kind, (known, objective) in self._known.items():
            head: Head | None = getattr(combination, kind)
            assert head
            own = objective.take(np.flatnonzero(np.isin(known, rows)))
            found[np.isin(rows, known)] += own.losses(head.combine(own.logits))
        return found

    def each(self, function: Callable[[int | None], T], folds: Sequence[int | None]) -> list[T]:
        """The function of each fold, on all cores: numpy leaves them free for others most of the time."""
        assert self._known  # drawn once, and not in each thread
        # Threads of its own for each small product of matrices cost the stack twice the time.
        with threadpool_limits(1), ThreadPoolExecutor(threads()) as pool:
            return list(pool.map(function, folds))

    def _fit(self, fold: int | None) -> CombinerFit:
        rows = np.flatnonzero(self.held_out.folds != fold) if fold is not None else self.rows(None)
        return CombinerFit(self.held_out, rows, self._known, self.seed, lambda key, find: self._once((fold, key), find))

    def _once(self, key: Hashable, find: Callable[[], Any]) -> Any:
        if key not in self._found:
            self._found[key] = find()
        return self._found[key]

    @cached_property
    def _known(self) -> dict[str, KnownRows]:
        known = {}
        if self.held_out.class_logits is not None:
            known["classes"] = class_rows(self.held_out)
        if self.held_out.planes is not None:
            known["masks"] = mask_rows(self.held_out, self.seed)
        return known


def class_rows(held_out: OutOfFoldPredictions) -> KnownRows:
    """The rows whose class is known, logits as float64."""
    assert held_out.class_logits is not None
    rows = np.flatnonzero(held_out.targets >= 0)
    logits = held_out.class_logits[:, rows].astype(np.float64)
    return KnownRows(rows, ClassObjective(logits, held_out.groups[rows], held_out.labels[rows], held_out.targets[rows]))


def mask_rows(held_out: OutOfFoldPredictions, seed: int = 0) -> KnownRows:
    """Pixels of the rows whose mask is known, drawn where candidates differ."""
    assert held_out.planes is not None
    assert held_out.truth is not None
    rows = np.flatnonzero(held_out.has_mask)
    digests = [held_out.digests[row] for row in rows]
    logits, truth, weights = sample_pixels(
        held_out.planes[:, rows], held_out.truth[rows], digests, seed, deciding=held_out.candidates
    )
    return KnownRows(rows, MaskObjective(logits, held_out.groups[rows], held_out.labels[rows], truth, weights))
