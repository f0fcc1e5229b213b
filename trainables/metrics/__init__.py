"""Metrics by task: a functional core over numpy or torch, and thin torchmetrics shells."""
