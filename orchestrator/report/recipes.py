"""`python -m orchestrator.report.recipes SUMMARY...`: the reference notebooks' recipes as docs/recipes.md.

What a notebook reported stands beside what its recipe scores here, as summaries of `--recipes-only` searches say.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from orchestrator.common.errors import first_line
from orchestrator.config.types import short_source
from orchestrator.tuning.summary import SearchSummary
from search_spaces.recipes import RECIPES, Recipe

_INTRO = """# Recipes

Generated from `search_spaces/recipes.py` and the searches named below by
`python -m orchestrator.report.recipes SUMMARY...`; do not edit. Each recipe is one
reference notebook's complete configuration, reproduced in PyTorch (four were Keras).
`python -m orchestrator.search --task cls --recipes-only` trains exactly these; `--epochs` and `--image-size` scale.

What a notebook reported was measured on a random image-level split in which near-duplicates and frames of one patient
reach the test images; its segmentation "Dice" counts the background and scores .935 for predicting nothing. What is
scored here is the validation fold of a grouped split: the two columns do not compare. "weights random" means that no
ImageNet weights of that encoder were to be had on the machine that ran it: such a figure says nothing about the recipe.
"""
_CONFIG = ("head", "loss", "balance", "optimizer", "lr", "weight_decay", "batch_size", "augmentation", "dropout")


def table(summaries: Sequence[SearchSummary]) -> str:
    """Markdown: every recipe with its configuration, what was reported, and its best run among the summaries."""
    lines = [
        _INTRO,
        "| recipe | configuration | reported (leaky split) | here (grouped split) | ran at |",
        "|---|---|---|---|---|",
    ]
    for recipe in RECIPES.values():
        runs = [
            (trial.metric, trial, summary)
            for summary in summaries
            for trial in summary.trials
            if trial.recipe == recipe.name and trial.metric is not None
        ]
        here, where = "not run", ""
        if runs:
            value, trial, summary = max(runs, key=lambda run: run[0])
            here = f"{summary.metric} {value:.3f}, weights {trial.weights_source}"
            where = f"{summary.image_size} px, {trial.epochs} epochs ({summary.name})"
        lines.append(f"| `{recipe.name}` | {_words(recipe)} | {recipe.reported} | {here} | {where} |")
    lines += ["", "Searches:", ""]
    for summary in summaries:
        source = "synthetic data" if summary.data.synthetic else short_source(summary.data.source)
        sizes = ", ".join(f"{count} {name}" for name, count in summary.data.split_sizes.items())
        lines.append(f"- {summary.name}: {source}, {sizes}, data fingerprint {summary.data.fingerprint[:12]}")
    return "\n".join(lines) + "\n"


def _words(recipe: Recipe) -> str:
    config = recipe.config
    words = [config["architecture"], *(f"{name} {config[name]}" for name in _CONFIG if name in config)]
    if config["freeze_epochs"]:
        words.append(f"{config['freeze_epochs']} of {recipe.epochs} epochs frozen at {config['freeze_lr']}")
    return ", ".join([*words, f"published at {recipe.image_size} px, {recipe.epochs} epochs"])


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m orchestrator.report.recipes", description=__doc__)
    parser.add_argument(
        "summaries", nargs="*", type=Path, metavar="SUMMARY", help="summary.json of a --recipes-only search"
    )
    parser.add_argument("--out", type=Path, default=Path("docs/recipes.md"))
    arguments = parser.parse_args(argv)
    try:
        arguments.out.write_text(table([SearchSummary.read(file) for file in arguments.summaries]))
    except (OSError, ValueError) as error:
        Console(stderr=True).print(
            f"error: not a summary of a search: {first_line(error)}", markup=False, highlight=False
        )
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
