"""External validation: a model on images of another source, nothing refitted."""

__all__ = []
