"""`python -m orchestrator.eda`: look at a dataset before anything is trained on it; writes one HTML page."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
from pydantic import BaseModel, ConfigDict, Field
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from orchestrator import dataset
from orchestrator.cli import make_settings, parse_settings
from orchestrator.exits import DONE, guarded
from orchestrator.pages import page
from orchestrator.pages.eda import figures, observations, pictures, statistics, tables
from orchestrator.pages.eda.survey import Survey, disagrees, survey
from orchestrator.settings import Folder, SearchSettings
from orchestrator.words import format_seconds
from trainables.data import is_phantom
from trainables.data.duplicates import DEFAULT_DISTANCE

SECTIONS = {
    "observations": "Key observations",
    "samples": "Sample images",
    "classes": "Class distribution",
    "splits": "Splits",
    "pixels": "Pixels",
    "lesions": "Lesions",
    "sizes": "Image sizes",
    "grey": "Brightness and contrast",
    "comparisons": "Classes compared",
    "duplicates": "Near-duplicates",
    "disagreeing": "Disagreeing clusters",
    "faults": "Faulty files",
}


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


def write_page(settings: EdaSettings, console: Console) -> Path:
    """Read the data, measure every image, and write the page; returns its file.

    Raises:
        UserError: the data cannot be used, or the page cannot be written.
    """
    started = time.monotonic()
    page.check_place(settings.out)
    cv2.setNumThreads(1)  # its own threads would only compete with ours
    search = settings.as_search()
    data, manifest = dataset.read(search, console)
    synthetic = is_phantom(manifest.root)

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    if synthetic:
        say("SYNTHETIC data: phantom images made by this program; their figures say nothing about patients")
    say(f"data    {manifest.root} ({manifest.layout} layout)")
    say(f"        {len(data.images):,} images used, {data.left_out:,} left out; measuring them")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        job = bar.add_task("measuring images", total=len(data.files))
        found = survey(
            manifest, data, search.cache, search.duplicate_distance, lambda done: bar.update(job, completed=done)
        )
        bar.update(job, description="drawing the page", total=None)
        html = page.render("eda.html", **contents(found, search, synthetic))
    page.write(settings.out, html)
    size = settings.out.stat().st_size / 1e6
    say(f"page    {settings.out} ({size:.1f} MB, {format_seconds(time.monotonic() - started)})")
    return settings.out


def contents(found: Survey, search: SearchSettings, synthetic: bool) -> dict[str, Any]:
    """What the template `eda.html` shows."""
    data = found.data
    medians, comparisons = statistics.compare(found)
    lesions = found.seen & (found.measured["lesion_pixels"] > 0)
    clusters = {}
    for name, which in (("agreeing", False), ("disagreeing", True)):
        shown, rest = pictures.clusters(found, which)
        clusters[name] = {"shown": shown, "rest": rest, "found": len(shown) + len(rest)}
    return {
        "title": "Exploratory data analysis",
        "synthetic": synthetic,
        "source": str(found.manifest.root),
        "layout": found.manifest.layout,
        "fingerprint": data.data_fingerprint,
        "sections": SECTIONS.items(),
        "facts": facts(found),
        "observations": observations.observations(found, comparisons),
        "method": observations.METHOD,
        "samples": pictures.samples(found),
        "has_masks": data.has_masks,
        "split_seed": search.split_seed,
        "distance": search.duplicate_distance,
        "notes": data.notes,
        "charts": {
            "classes": figures.class_distribution(found),
            "parts": figures.part_balance(found),
            "sizes": figures.lesion_sizes(found) if lesions.any() else None,
            "positions": figures.lesion_positions(found),
            "dimensions": figures.image_sizes(found),
            "grey": figures.grey_levels(found),
        },
        "tables": {
            "classes": tables.class_counts(found),
            "origins": tables.origins(found),
            "parts": tables.split_balance(found),
            "pixels": tables.pixel_counts(found),
            "sizes": tables.size_ranges(found),
            "medians": tables.class_medians(medians),
            "differences": tables.class_differences(comparisons),
            "faults": tables.faults(found),
        },
        **clusters,
    }


def facts(found: Survey) -> list[tuple[str, int]]:
    """The figures at the top of the page."""
    data = found.data
    return [
        ("images used", len(data.files)),
        ("left out", data.left_out),
        ("groups", len(set(data.groups.tolist()))),
        ("with a lesion", int((found.measured["lesion_pixels"] > 0).sum())),
        ("near-duplicate clusters", len(found.clusters)),
        ("clusters that disagree", sum(map(disagrees, found.clusters))),
        ("faults", len(data.faults)),
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""

    def run() -> int:
        settings = parse_settings(EdaSettings, argv, prog="python -m orchestrator.eda", description=__doc__ or "")
        write_page(settings, Console())
        return DONE

    return guarded(run, lambda: Path("eda-error.log").absolute())


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # Threads of libraries must not keep a finished command alive.
    os._exit(code)
