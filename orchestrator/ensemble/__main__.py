"""`python -m orchestrator.ensemble`: select candidates, combine them, prove what that is worth, register the winner."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from orchestrator.config.cli import DONE, guarded, parse_settings
from orchestrator.config.ensemble import EnsembleSettings
from orchestrator.ensemble.run import run_ensemble


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""

    def run() -> int:
        prog = "python -m orchestrator.ensemble"
        run_ensemble(parse_settings(EnsembleSettings, argv, prog=prog, description=__doc__ or ""))
        return DONE

    return guarded(run, lambda: Path("ensemble-error.log").absolute())


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # Threads of libraries must not keep a finished command alive.
    os._exit(code)
