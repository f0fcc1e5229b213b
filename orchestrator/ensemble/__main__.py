"""`python -m orchestrator.ensemble`: select candidates, combine them, prove what that is worth, register the winner."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.config.cli import leave, run_command, starting
from orchestrator.config.ensemble import EnsembleSettings


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""

    def run(settings: EnsembleSettings) -> None:
        search = settings.name or "the newest search"
        with starting(f"ensemble {settings.task} of {search}: loading torch, Ray and MLflow"):
            from orchestrator.ensemble.run import run_ensemble

        run_ensemble(settings)

    return run_command("ensemble", run, EnsembleSettings, argv, __doc__)


if __name__ == "__main__":
    leave(main())
