"""Fits of all rows at once, as tests of a single combiner want them."""

from __future__ import annotations

from orchestrator.ensemble.combiners.fits import Fits, class_rows, mask_rows
from orchestrator.ensemble.combiners.objectives import Objective
from orchestrator.ensemble.held_out import OutOfFoldPredictions
from orchestrator.inference.combination import Combination


def fit(name: str, held_out: OutOfFoldPredictions, seed: int = 0) -> tuple[Combination, str]:
    """A combiner, fitted on all rows."""
    return Fits(held_out, seed).whole().fit(name)


def objectives(held_out: OutOfFoldPredictions) -> dict[str, Objective]:
    """Of each head, on all rows, each member divided by its temperature."""
    found: dict[str, Objective] = {}
    if held_out.class_logits is not None:
        found["classes"] = class_rows(held_out).objective
    if held_out.planes is not None:
        found["masks"] = mask_rows(held_out).objective
    return {
        head: one.calibrated(tuple(one.temperature(logits) for logits in one.logits)) for head, one in found.items()
    }
