"""Errors that a user can act on: one line, which says what, where and what to do."""

from __future__ import annotations


class UserError(Exception):
    """Bad input; its message is one line for the user, and the exit code is 2."""


def first_line(error: BaseException) -> str:
    """The first line of an error's message, shortened."""
    return (str(error) or type(error).__name__).splitlines()[0][:200]
