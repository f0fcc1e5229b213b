"""The report: what searches and their ensembles came to, side by side."""

__all__ = ["results"]
