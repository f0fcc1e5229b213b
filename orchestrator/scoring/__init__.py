"""Figures: metrics, intervals, operating points, and the predictions that they are of."""
