"""`python -m orchestrator.eda`: look at a dataset before anything is trained on it; writes one HTML page, or JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from orchestrator.common.console import progress_bar, say
from orchestrator.config.cli import leave, run_command, starting
from orchestrator.config.data import SplitSettings
from orchestrator.config.types import Folder
from orchestrator.rendering import html


class EdaSettings(SplitSettings):
    """Settings of one page. Images are prepared as for a search that is not told how, so that both share them."""

    GROUPS: ClassVar[dict[str, tuple[str, ...]]] = {
        "data": ("data", "layout", "patient", "resize_masks", "plugin"),
        "split": ("test_source", "duplicate_distance", "folds", "split_seed"),
        "the page": ("out", "format", "storage"),
    }
    EXAMPLES: ClassVar[tuple[str, ...]] = (
        "--data path/to/images --out eda.html",
        "--data path/to/images --format json --out eda.json",
    )

    out: Folder = Field(Path("eda.html"), validate_default=True, title="FILE", description="the page to write")
    storage: Folder = Field(Path("runs"), validate_default=True, title="DIR", description="folder for prepared data")
    format: Literal["html", "json"] = Field("html", description="a page, or what is in the data in numbers")
    # No flags.
    masks: Literal["merge"] = "merge"
    keep_aspect: Literal[False] = False
    image_size: int = 0


def write_page(settings: EdaSettings) -> Path:
    """Read the data, measure every image, and write the page; returns its file.

    Raises:
        UserError: the data cannot be used, or the page cannot be written.
    """
    started = time.monotonic()
    html.check_place(settings.out, settings.format)
    with starting(f"eda of {settings.source}: loading torch"):
        import cv2

        from orchestrator.config import loading
        from orchestrator.eda.inventory import inventory
        from orchestrator.eda.page import contents
        from orchestrator.eda.survey import survey

    cv2.setNumThreads(1)  # its own threads would only compete with ours
    data, manifest = loading.read(settings)

    if data.synthetic:
        say(loading.SYNTHETIC)
    for one in manifest.datasets:
        say(f"data    {one.root} ({one.layout} layout)")
    say(f"        {len(data.images):,} images used, {data.left_out:,} left out")
    if settings.format == "json":
        html.write(settings.out, json.dumps(inventory(data, manifest), indent=2, ensure_ascii=False) + "\n")
        say(f"figures {settings.out}")
        return settings.out
    with progress_bar() as bar:
        job = bar.add_task("measuring images", total=len(data.files))
        found = survey(
            manifest, data, settings.cache, settings.duplicate_distance, lambda done: bar.update(job, completed=done)
        )
        bar.update(job, description="drawing the page", total=None)
        text = html.render("eda.html", **contents(found, settings))
    html.write(settings.out, text)
    say(html.shown(settings.out, time.monotonic() - started))
    return settings.out


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return run_command("eda", write_page, EdaSettings, argv, __doc__)


if __name__ == "__main__":
    leave(main())
