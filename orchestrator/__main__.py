"""`python -m orchestrator`: the commands, a line each."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from orchestrator.common.console import complain
from orchestrator.config.cli import BAD_INPUT, DONE

COMMANDS = {
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
    """Print the commands; returns the exit code."""
    given = sys.argv[1:] if argv is None else list(argv)
    if given and given not in (["-h"], ["--help"]):
        complain(f"error: {given[0]}: give python -m orchestrator.COMMAND; without a word they are listed")
        return BAD_INPUT
    for name, words in COMMANDS.items():
        print(f"python -m orchestrator.{name:12} {words}")
    print("Each has --help. Not a medical device.")
    return DONE


if __name__ == "__main__":
    sys.exit(main())
