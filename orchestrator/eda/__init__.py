"""The page that looks at a dataset."""

__all__ = []
