"""`python -m orchestrator.ensemble`: select candidates, combine them, prove what that is worth, register the winner."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.config.cli import leave, run_command
from orchestrator.config.ensemble import EnsembleSettings
from orchestrator.ensemble.run import run_ensemble


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return run_command("ensemble", run_ensemble, EnsembleSettings, argv, __doc__)


if __name__ == "__main__":
    leave(main())
