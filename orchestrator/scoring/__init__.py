"""Figures: metrics, intervals, operating points, and the predictions that they are of."""

__all__ = [
    "checks",
    "final_scores",
    "measure",
    "metrics",
    "operating_points",
    "packed_masks",
    "predictions",
    "resampling",
    "trivial",
    "uncertainty",
    "values",
    "verdict",
    "weighted",
]
