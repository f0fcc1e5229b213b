"""Collect encoders' pretrained weights into a folder, which `--weights DIR` reads on a machine without internet.

Weights come from an installed package, the caches of the hub and of torch, the hub, or a file (--from). Beside each
NAME.safetensors stands a NAME.json: source, licence, sha256, mean and std. `--list` says what is where.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field
from rich.console import Console
from rich.table import Table

from orchestrator.common.console import console, say, shown_on
from orchestrator.common.errors import UserError
from orchestrator.config.cli import POSITIONAL, leave, run_command, starting
from orchestrator.config.command import CommandSettings
from orchestrator.config.types import NetworkPlace


class WeightsSettings(CommandSettings):
    """Settings of one collection, or of one look at what is where."""

    GROUPS: ClassVar[dict[str, tuple[str, ...]]] = {
        "what to collect": ("names", "file"),
        "where": ("out", "listed"),
    }
    EXAMPLES: ClassVar[tuple[str, ...]] = ("--out weights tf_efficientnet_lite0 resnet34", "--list")

    names: tuple[str, ...] = Field((), title="NAME", description="timm names [none]", json_schema_extra=POSITIONAL)
    out: NetworkPlace | None = Field(
        None, title="DIR", description="folder to write to; with --list, a folder to look into [none]"
    )
    file: NetworkPlace | None = Field(
        None, alias="from", title="FILE", description="a .pth or .safetensors with the weights of the one NAME [none]"
    )
    listed: bool = Field(False, alias="list", description="say where weights are, and what each encoder needs")


def run(settings: WeightsSettings) -> None:
    """Collect, or list.

    Raises:
        UserError: nothing to do, a name that timm does not know, or weights that are not to be had or do not fit.
    """
    if settings.listed == bool(settings.names):
        raise UserError("give --out DIR and timm names to collect weights, or --list alone to see what is where")
    if not settings.listed and settings.out is None:
        raise UserError("--out: name the folder to write to")
    if settings.file and len(settings.names) != 1:
        raise UserError("--from: a file is of one encoder; give one NAME")
    with starting(f"weights {'of all encoders' if settings.listed else ', '.join(settings.names)}: loading torch"):
        from orchestrator.weights.collect import check_name, collect
        from orchestrator.weights.places import places

    if settings.listed:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for column in ("encoder", "where", "MB", "licence", "command"):
            table.add_column(column, justify="right" if column == "MB" else "left", overflow="fold")
        for row in places(settings.out):
            table.add_row(row.encoder, ", ".join(row.where) or "-", f"{row.megabytes:.0f}", row.licence, row.command)
        # A file or a pipe has no width to fit.
        with shown_on(Console(width=None if console().is_terminal else 200)):
            console().print(table)
        return
    assert settings.out is not None
    for name in settings.names:  # all of them before the first download
        check_name(name)
    for name in settings.names:
        found = collect(name, settings.out, settings.file)
        of = found.pretrained_on or "not in the register of pretraining: docs/weights.md"
        say(f"{name}: {found.source}; licence: {found.licence or 'ask its authors'}; pretrained on: {of}")
    say(f"written to {settings.out}; copy it, and give --weights DIR there")


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return run_command("weights", run, WeightsSettings, argv, __doc__)


if __name__ == "__main__":
    leave(main())
