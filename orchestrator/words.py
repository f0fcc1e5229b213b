"""Figures as a person reads them."""

from __future__ import annotations


def format_seconds(seconds: float) -> str:
    """`45 s`, `12 min` or `3.4 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
