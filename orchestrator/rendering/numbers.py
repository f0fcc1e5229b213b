"""Figures as text: counts, shares, numbers with their intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence


def count(value: str | int) -> str:
    """A whole number with its thousands apart; text as it is."""
    return f"{value:,}" if isinstance(value, int) else value


def counted(value: int, noun: str) -> str:
    """A count with its noun, which takes an s."""
    return f"{value:,} {noun}{'' if value == 1 else 's'}"


def number(value: float, digits: int, sign: bool = False) -> str:
    """A number with a true minus; `-` where it is not known."""
    if not math.isfinite(value):
        return "-"
    text = f"{value:{'+' if sign else ''},.{digits}f}"
    return text.replace("-", "−")


def with_interval(value: float, interval: Sequence[float] | None, digits: int = 3, sign: bool = False) -> str:
    """A figure and its interval in brackets, if there is one: `0.708 (0.637 to 0.775)`."""
    text = number(value, digits, sign)
    if interval is None or not all(map(math.isfinite, interval)):
        return text
    low, high = interval
    return f"{text} ({spanned(low, high, digits, sign)})"


def with_error(value: float | None, error: float | None, digits: int = 4, sign: bool = False) -> str:
    """A figure ± its standard error; `-` where it is not known."""
    if value is None:
        return "-"
    return number(value, digits, sign) + ("" if error is None else f" ± {number(error, digits)}")


def percent(part: float, whole: float, digits: int = 1) -> str:
    """A share in per cent; `-` of nothing."""
    return f"{100 * part / whole:.{digits}f} %" if whole else "-"


def spanned(low: float, high: float, digits: int, sign: bool = False) -> str:
    """Bounds in words, with more digits than given where one of them would look like the zero that it is not."""
    while digits < 4 and any(bound and not round(bound, digits) for bound in (low, high)):
        digits += 1
    return f"{number(low, digits, sign)} to {number(high, digits, sign)}"
