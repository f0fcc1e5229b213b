"""Losses by task, by name."""

__all__ = ["cls", "multi", "seg"]
