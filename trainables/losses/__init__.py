"""Losses by task, by name."""
