"""`python -m orchestrator.eda`: look at a dataset before anything is trained on it; writes one HTML page."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import cv2
from pydantic import BaseModel, ConfigDict, Field

from orchestrator.common.console import format_seconds, progress_bar, say
from orchestrator.config import data as dataset
from orchestrator.config.cli import leave, make_settings, run_command
from orchestrator.config.search import SearchSettings
from orchestrator.config.types import Folder
from orchestrator.eda.page import contents
from orchestrator.eda.survey import survey
from orchestrator.rendering import html as page
from trainables.data.duplicates import DEFAULT_DISTANCE


class EdaSettings(BaseModel):
    """Settings of one page. How data are read is said as for a search, and checked there."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: Folder | None = Field(None, description="folder of images, or a CSV table; without it a phantom is made")
    out: Folder = Field(Path("eda.html"), validate_default=True, description="the page to write")
    test_source: str = Field("", description="hold this source of the CSV table out as the test set")
    layout: str = Field("auto", description=str(SearchSettings.model_fields["layout"].description))
    duplicate_distance: int = Field(
        DEFAULT_DISTANCE, ge=0, le=256, description="largest hash distance of near-duplicates, bits of 256"
    )
    folds: int | None = Field(None, ge=2, le=20, description="folds over the images that are not test [5; phantom 3]")
    split_seed: int = Field(0, ge=0, description="seed of the split; another one makes another data fingerprint")
    storage: Folder = Field(Path("runs"), validate_default=True, description="folder for prepared data")

    def as_search(self) -> SearchSettings:
        """Settings of a search that reads the same data, so that both share the prepared ones.

        Raises:
            UserError: a setting is wrong.
        """
        return make_settings(SearchSettings, self.model_dump(exclude={"out"}))


def write_page(settings: EdaSettings) -> Path:
    """Read the data, measure every image, and write the page; returns its file.

    Raises:
        UserError: the data cannot be used, or the page cannot be written.
    """
    started = time.monotonic()
    page.check_place(settings.out)
    cv2.setNumThreads(1)  # its own threads would only compete with ours
    search = settings.as_search()
    data, manifest = dataset.read(search)

    if data.synthetic:
        say("SYNTHETIC data: phantom images made by this program; their figures say nothing about patients")
    say(f"data    {manifest.root} ({manifest.layout} layout)")
    say(f"        {len(data.images):,} images used, {data.left_out:,} left out; measuring them")
    with progress_bar() as bar:
        job = bar.add_task("measuring images", total=len(data.files))
        found = survey(
            manifest, data, search.cache, search.duplicate_distance, lambda done: bar.update(job, completed=done)
        )
        bar.update(job, description="drawing the page", total=None)
        html = page.render("eda.html", **contents(found, search))
    page.write(settings.out, html)
    size = settings.out.stat().st_size / 1e6
    say(f"page    {settings.out} ({size:.1f} MB, {format_seconds(time.monotonic() - started)})")
    return settings.out


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return run_command("eda", write_page, EdaSettings, argv, __doc__)


if __name__ == "__main__":
    leave(main())
