"""The MLflow store: written by one thread, ranked, and its registry."""

__all__ = [
    "client",
    "datasets",
    "description",
    "download",
    "orphans",
    "ranking",
    "registry",
    "sqlite",
    "tracker",
    "ui_view",
]
