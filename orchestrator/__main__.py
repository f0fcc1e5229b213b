"""`breast-ultrasound COMMAND`, which is `python -m orchestrator COMMAND` and `python -m orchestrator.COMMAND`, too."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from typing import NoReturn

from orchestrator.common.console import complain
from orchestrator.config.cli import BAD_INPUT, DONE, PROGRAM, leave

COMMANDS = {
    "check": "what a new machine or folder needs: packages, devices, places, weights, data",
    "search": "search architectures and hyperparameters on a folder of images",
    "leaderboard": "rank the trials of all searches",
    "ensemble": "select candidates, combine them, test once, register the winner",
    "predict": "masks, classes and a table for new images",
    "evaluate": "external validation of a model on images that it has not seen",
    "report": "results and comparisons of the newest searches, on one page",
    "weights": "collect encoders' pretrained weights for a machine without internet",
    "eda": "look at a dataset before anything is trained on it",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command, or list them; returns the exit code."""
    given = sys.argv[1:] if argv is None else list(argv)
    if given and given[0] in COMMANDS:
        module = import_module(f"orchestrator.{given[0]}")  # only now: the others' imports would take their time
        if hasattr(module, "__path__"):
            module = import_module(f"{module.__name__}.__main__")
        return int(module.main(given[1:]))
    if given == ["--version"]:
        print(f"{PROGRAM} {version('breast-ultrasound-orchestrator')}")
        return DONE
    if given not in ([], ["-h"], ["--help"]):
        complain(f"error: {given[0]}: no such command; choose from {', '.join(COMMANDS)}, --version and --help")
        return BAD_INPUT
    print(f"usage: {PROGRAM} COMMAND ...\n")
    for name, words in COMMANDS.items():
        print(f"  {name:12} {words}")
    print(f"\nEach has --help. `python -m orchestrator.COMMAND` does the same as `{PROGRAM} COMMAND`.")
    print("Not a medical device.")
    return DONE


def run() -> NoReturn:
    """The program."""
    leave(main())


if __name__ == "__main__":
    run()
