"""Figures: metrics, intervals, operating points, and the predictions that they are of."""

__all__ = [
    "final_scores",
    "measure",
    "metrics",
    "operating_points",
    "packed_masks",
    "predictions",
    "resampling",
    "uncertainty",
    "values",
]
