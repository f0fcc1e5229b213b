"""The combiners behind one interface: fitted on held-out predictions, they predict, and are stored as JSON."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np

from orchestrator.ensemble.combiners.calibration import class_calibration
from orchestrator.ensemble.combiners.mask_threshold import THRESHOLDS, best_threshold, counts_above, original_counts
from orchestrator.ensemble.combiners.objectives import ClassObjective, Objective
from orchestrator.ensemble.combiners.registry import COMBINERS
from orchestrator.ensemble.combiners.stacking import fit_stack
from orchestrator.ensemble.combiners.weights import Weighting, padded, with_trained
from orchestrator.ensemble.held_out import OutOfFoldPredictions
from orchestrator.inference.combination import Combination, Head
from orchestrator.scoring.values import ScoredPredictions


class KnownRows(NamedTuple):
    """The rows (int64, ascending) whose class, or mask, is known, and what members say of them, not yet calibrated."""

    rows: np.ndarray
    objective: Objective


class CombinerFit:
    """Combiners fitted on some rows. What does not depend on the combiner, or is alike in two of them, is found once.

    Each member is divided by its temperature and weighed; the combination gets a temperature, a class bias where
    training re-balanced the classes, and for masks the threshold of the largest `dice_all` at original size. `stacked`
    stands in for classes alone: its masks are the mean's. Rows whose class, or mask, is not known do not count for it.

    Args:
        rows: those of `held_out` that are fitted on.
        known: by head, `classes` before `masks`, of all rows of `held_out`.
        once: gives what was found under a key, or finds it and keeps it.

    Raises:
        ValueError: no row's class is known, or no row's mask.
    """

    def __init__(
        self,
        held_out: OutOfFoldPredictions,
        rows: np.ndarray,
        known: Mapping[str, KnownRows],
        seed: int,
        once: Callable[[Hashable, Callable[[], Any]], Any],
    ) -> None:
        self._planes, self._rows, self._known, self._seed, self._once = held_out.planes, rows, known, seed, once
        self._held_out = without_planes(held_out).take(rows)
        for kind, one in known.items():
            if not np.isin(one.rows, rows).any():
                what = {"classes": "class", "masks": "mask"}[kind]
                raise ValueError(f"no held-out image has a known {what}: nothing to fit a combiner on")

    def fit(self, name: str) -> tuple[Combination, str]:
        """One of `COMBINERS`, fitted, and what there is to note of it.

        Raises:
            ValueError: `stacked` without classes.
        """
        if COMBINERS[name].weigh:
            weights, note = self.weigh(name)
            return self.combination(name, weights), note
        if "classes" not in self._known:
            raise ValueError("stacked combines class probabilities, which a segmentation network has none of")
        temperatures = np.array(self._temperatures("classes"))
        stack, note = self._once(
            ("stack", self._held_out.shape is None), partial(fit_stack, self._held_out, temperatures, self._seed)
        )
        masks = self.combination(name, self.weigh("mean")[0]).masks
        return Combination(name, masks=masks, stack=stack), note

    def weigh(self, name: str) -> tuple[list[np.ndarray], str]:
        """Weights, float64 [M], of each head by one of `COMBINERS` that weighs, and what there is to note."""
        combiner, members = COMBINERS[name], len(self._held_out.names)
        assert combiner.weigh
        weights, note = self._weigh(combiner.weigh)
        if not combiner.adds_trained:
            return [padded(one, members) for one in weights], note
        found: tuple[list[np.ndarray], str] = self._once(
            (name, members), lambda: with_trained(list(self._calibrated.values()), weights, note)
        )
        return found

    def combination(self, name: str, weights: list[np.ndarray]) -> Combination:
        """With these weights, calibrated."""
        heads = {kind: self._head(kind, own) for kind, own in zip(self._known, weights, strict=True)}
        return Combination(name, heads.get("classes"), heads.get("masks"))

    def _weigh(self, weigh: Weighting) -> tuple[list[np.ndarray], str]:
        """Weights of the candidates alone."""
        found: tuple[list[np.ndarray], str] = self._once(
            weigh,
            lambda: weigh([one.first(self._held_out.candidates) for one in self._calibrated.values()], self._seed),
        )
        return found

    def _head(self, kind: str, weights: np.ndarray) -> Head:
        found: Head = self._once(
            (kind, *np.trim_zeros(weights, "b").tolist()), partial(self._calibration_of, kind, weights)
        )
        return replace(found, temperatures=self._temperatures(kind), weights=tuple(weights.tolist()))

    def _calibration_of(self, kind: str, weights: np.ndarray) -> Head:
        objective, head = self._calibrated[kind], Head(self._temperatures(kind), tuple(weights.tolist()))
        combined = objective.combined(weights)
        if isinstance(objective, ClassObjective):
            temperature, bias = class_calibration(combined, objective.targets, self._held_out.rebalanced)
            return replace(head, temperature=temperature, bias=bias)
        assert self._planes is not None
        head = replace(head, temperature=objective.temperature(combined))
        counts = original_counts(mask_logits(head, self._planes, self._rows), self._held_out)
        return replace(head, threshold=float(THRESHOLDS[best_threshold(counts)]))

    def _temperatures(self, kind: str) -> tuple[float, ...]:
        return tuple(
            self._once(("temperature", kind, member), partial(self._temperature, kind, member))
            for member in range(len(self._held_out.names))
        )

    def _temperature(self, kind: str, member: int) -> float:
        return self._own[kind].temperature(self._own[kind].logits[member])

    @cached_property
    def _own(self) -> dict[str, Objective]:
        return {
            kind: objective.take(np.flatnonzero(np.isin(known, self._rows)))
            for kind, (known, objective) in self._known.items()
        }

    @cached_property
    def _calibrated(self) -> dict[str, Objective]:
        return {kind: one.calibrated(self._temperatures(kind)) for kind, one in self._own.items()}


def predict(
    combination: Combination, held_out: OutOfFoldPredictions, counts: np.ndarray | None = None
) -> ScoredPredictions:
    """Its predictions for these rows, the masks counted at original size, unless these `counts` are known."""
    probabilities = None
    if held_out.class_logits is not None:
        probabilities = combination.probabilities(held_out.class_logits, held_out.shape)
    if held_out.planes is not None and combination.masks:
        planes = mask_logits(combination.masks, held_out.planes, np.arange(len(held_out)))
        counts = counts_above(combination.masks.threshold, planes, held_out)
    return ScoredPredictions(probabilities, held_out.targets, counts, held_out.has_mask)


def mask_logits(head: Head, planes: np.ndarray, rows: np.ndarray) -> Iterator[np.ndarray]:
    """Calibrated mask logits of one row after the other, float32 [S,S]: never all of them in memory."""
    return (head.combine(planes[:, row]) for row in rows)


def without_planes(held_out: OutOfFoldPredictions) -> OutOfFoldPredictions:
    """All but the planes, which are too large to be copied."""
    return replace(held_out, planes=None, truth=None)
