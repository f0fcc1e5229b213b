"""Metrics by task: a functional core over numpy or torch, and thin torchmetrics shells."""

__all__ = ["cls", "detection", "multi", "seg"]
