"""Figures: metrics, intervals, operating points, and the predictions that they are of."""

__all__ = [
    "calibration",
    "checks",
    "final_scores",
    "measure",
    "metrics",
    "net_benefit",
    "operating_points",
    "packed_masks",
    "predictions",
    "resampling",
    "triage",
    "trivial",
    "uncertainty",
    "values",
    "verdict",
    "weighted",
]
