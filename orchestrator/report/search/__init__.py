"""The part of a report that looks back at a search."""

__all__ = ["section"]
