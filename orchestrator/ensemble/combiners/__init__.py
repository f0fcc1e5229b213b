"""Combiners: each turns the predictions of several members into one."""

__all__ = ["fit", "fits", "registry"]
