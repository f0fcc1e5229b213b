"""Data, networks and their training: one trial as a plain Python call. No tracking store; `trial` alone knows Ray."""

__all__ = [
    "augment",
    "batches",
    "charts",
    "checkpoint",
    "data",
    "evaluation",
    "held_out",
    "inference",
    "losses",
    "memory",
    "metrics",
    "models",
    "tasks",
    "timing",
    "training",
    "trial",
]
