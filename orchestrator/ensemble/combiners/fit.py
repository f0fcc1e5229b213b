"""The combiners behind one interface: fitted on held-out predictions, they predict, and are stored as JSON."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from orchestrator.ensemble.combiners.calibration import class_calibration, class_temperature, mask_temperature
from orchestrator.ensemble.combiners.mask_threshold import THRESHOLDS, best_threshold, counts_above, original_counts
from orchestrator.ensemble.combiners.objectives import ClassObjective, MaskObjective, Objective, sample_pixels
from orchestrator.ensemble.combiners.registry import COMBINERS
from orchestrator.ensemble.combiners.stacking import fit_stack
from orchestrator.ensemble.combiners.weights import Weighting, mean, with_trained
from orchestrator.ensemble.held_out import OutOfFoldPredictions
from orchestrator.inference.combination import Combination, Head
from orchestrator.scoring.values import ScoredPredictions


def fit(name: str, held_out: OutOfFoldPredictions, seed: int = 0) -> tuple[Combination, str]:
    """One of `COMBINERS`, fitted on all these rows, and what there is to note of it.

    Each member is divided by its temperature and weighed; the combination gets a temperature, a class bias where
    training re-balanced the classes, and for masks the threshold of the largest `dice_all` at original size. `stacked`
    stands in for classes alone: its masks are the mean's. Rows whose class, or mask, is not known do not count for it.

    Raises:
        ValueError: no row's class is known, or no row's mask, or `stacked` without classes.
    """
    return CombinerFit(held_out, seed).fit(name)


class CombinerFit:
    """Rows that combiners are fitted on, with each member's temperatures: these are the same for all combiners.

    Attributes:
        classes, masks: the head's objective and each member's temperature; None where the task has no such head.

    Raises:
        ValueError: no row's class is known, or no row's mask.
    """

    def __init__(self, held_out: OutOfFoldPredictions, seed: int = 0) -> None:
        self._held_out, self._seed = held_out, seed
        self.classes = None if held_out.class_logits is None else class_objective(held_out)
        self.masks = None if held_out.planes is None else mask_objective(held_out, seed)
        self._known: dict[Weighting, tuple[list[np.ndarray], str]] = {}

    def fit(self, name: str) -> tuple[Combination, str]:
        """One of `COMBINERS`, fitted, and what there is to note of it.

        Raises:
            ValueError: `stacked` without classes.
        """
        if COMBINERS[name].weigh:
            weights, note = self.weigh(name)
            return self.combination(name, weights), note
        if self.classes is None:
            raise ValueError("stacked combines class probabilities, which a segmentation network has none of")
        stack, note = fit_stack(self._held_out, np.array(self.classes[1]), self._seed)
        masks = self.combination(name, self._weigh(mean)[0]).masks
        return Combination(name, masks=masks, stack=stack), note

    def weigh(self, name: str) -> tuple[list[np.ndarray], str]:
        """Weights, float64 [M], of each head by one of `COMBINERS` that weighs, and what there is to note."""
        combiner = COMBINERS[name]
        assert combiner.weigh
        weights, note = self._weigh(combiner.weigh)
        if not combiner.adds_trained:
            return weights, note
        return with_trained(self._heads(), self._held_out.candidates, weights, note)

    def _weigh(self, weigh: Weighting) -> tuple[list[np.ndarray], str]:
        # Once: what goes on where `boosted` ends does not repeat its rounds, which take most of the time.
        if weigh not in self._known:
            self._known[weigh] = weigh(self._heads(), self._held_out.candidates, self._seed)
        return self._known[weigh]

    def _heads(self) -> list[Objective]:
        return [found[0] for found in (self.classes, self.masks) if found]

    def combination(self, name: str, weights: list[np.ndarray]) -> Combination:
        """With these weights, calibrated."""
        return Combination(
            name,
            _class_head(self._held_out, *self.classes, weights[0]) if self.classes else None,
            _mask_head(self._held_out, *self.masks, weights[-1]) if self.masks else None,
        )


def predict(combination: Combination, held_out: OutOfFoldPredictions) -> ScoredPredictions:
    """Its predictions for these rows, the masks counted at original size."""
    probabilities = counts = None
    if held_out.class_logits is not None:
        probabilities = combination.probabilities(held_out.class_logits, held_out.shape)
    if held_out.planes is not None and combination.masks:
        counts = counts_above(combination.masks.threshold, _planes(combination.masks, held_out), held_out)
    return ScoredPredictions(probabilities, held_out.targets, counts, held_out.has_mask)


def class_objective(held_out: OutOfFoldPredictions) -> tuple[ClassObjective, tuple[float, ...]]:
    """The rows whose class is known, and each member's temperature on them.

    Raises:
        ValueError: there is none.
    """
    assert held_out.class_logits is not None
    rows = np.flatnonzero(held_out.targets >= 0)
    if not len(rows):
        raise ValueError("no held-out image has a known class: nothing to fit a combiner on")
    logits, targets = held_out.class_logits[:, rows].astype(np.float64), held_out.targets[rows]
    temperatures = tuple(class_temperature(one, targets) for one in logits)
    scaled = logits / np.array(temperatures)[:, None, None]
    return ClassObjective(scaled, held_out.groups[rows], held_out.labels[rows], targets), temperatures


def mask_objective(held_out: OutOfFoldPredictions, seed: int = 0) -> tuple[MaskObjective, tuple[float, ...]]:
    """Pixels of the rows whose mask is known, drawn where candidates differ, and each member's temperature on them.

    Raises:
        ValueError: there is no such row.
    """
    assert held_out.planes is not None
    assert held_out.truth is not None
    rows = np.flatnonzero(held_out.has_mask)
    if not len(rows):
        raise ValueError("no held-out image has a known mask: nothing to fit a combiner on")
    digests = [held_out.digests[row] for row in rows]
    logits, truth, weights = sample_pixels(
        held_out.planes[:, rows], held_out.truth[rows], digests, seed, deciding=held_out.candidates
    )
    temperatures = tuple(mask_temperature(one, truth, weights) for one in logits)
    logits /= np.array(temperatures, np.float32)[:, None, None]
    return MaskObjective(logits, held_out.groups[rows], held_out.labels[rows], truth, weights), temperatures


def _class_head(
    held_out: OutOfFoldPredictions, objective: ClassObjective, temperatures: tuple[float, ...], weights: np.ndarray
) -> Head:
    combined = objective.combined(weights)
    temperature, bias = class_calibration(combined, objective.targets, held_out.rebalanced)
    return Head(temperatures, tuple(weights.tolist()), temperature, bias)


def _mask_head(
    held_out: OutOfFoldPredictions, objective: MaskObjective, temperatures: tuple[float, ...], weights: np.ndarray
) -> Head:
    temperature = mask_temperature(objective.combined(weights), objective.truth, objective.weights)
    head = Head(temperatures, tuple(weights.tolist()), temperature)
    threshold = THRESHOLDS[best_threshold(original_counts(_planes(head, held_out), held_out))]
    return Head(temperatures, head.weights, temperature, threshold=float(threshold))


def _planes(head: Head, held_out: OutOfFoldPredictions) -> Iterator[np.ndarray]:
    """Calibrated mask logits of one row after the other, float32 [S,S]: never all of them in memory."""
    assert held_out.planes is not None
    return (head.combine(held_out.planes[:, row]) for row in range(len(held_out)))
