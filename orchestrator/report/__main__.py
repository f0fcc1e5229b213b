"""`python -m orchestrator.report`: results and comparisons of the newest searches with an ensemble, on one page."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from orchestrator.common.console import console, say
from orchestrator.common.errors import UserError
from orchestrator.config.cli import leave, run_command, starting
from orchestrator.config.command import CommandSettings
from orchestrator.config.types import Folder, SearchName, Store
from orchestrator.rendering import html
from orchestrator.rendering.numbers import with_interval


class ReportSettings(CommandSettings):
    """Settings of one report. Paths become absolute."""

    GROUPS: ClassVar[dict[str, tuple[str, ...]]] = {
        "searches": ("name", "storage", "tracking_uri"),
        "the page": ("out", "format"),
    }
    EXAMPLES: ClassVar[tuple[str, ...]] = (
        "--out report.html",
        "--name cls-20261128-200000 --format md --out report.md",
    )

    out: Folder | None = Field(None, title="FILE", description="the page to write [report.html, report.md]")
    format: Literal["html", "md"] = Field("html", description="one HTML page, or the same tables as Markdown")
    name: tuple[SearchName, ...] = Field(
        (), title="SEARCH", description="searches to show, of one data fingerprint [newest of each task]"
    )
    storage: Folder = Field(Path("runs"), validate_default=True, title="DIR", description="folder of the searches")
    tracking_uri: Store = Field("", title="URI", description="MLflow store [each search's]")

    @field_validator("name", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @property
    def file(self) -> Path:
        """The page to write."""
        return self.out or Path(f"report.{self.format}").absolute()


def write_report(settings: ReportSettings) -> Path:
    """Gather what searches left behind and write the page; returns its file. Nothing is predicted or scored.

    Raises:
        UserError: there is nothing to show, or the page cannot be written.
    """
    started = time.monotonic()
    html.check_place(settings.file, settings.format)
    if not settings.storage.is_dir():
        raise UserError(f"--storage {settings.storage}: no such folder; name the one that searches were written to")
    with starting(f"report of {settings.storage}: loading torch and MLflow"):
        import cv2

        from orchestrator.config.loading import SYNTHETIC
        from orchestrator.rendering.document import to_html
        from orchestrator.rendering.markdown import to_markdown
        from orchestrator.report.gather import gather
        from orchestrator.report.page import contents
        from orchestrator.report.results.answers import UNWRITTEN

    cv2.setNumThreads(1)  # its own threads would only compete with ours

    gathered = gather(settings.storage, settings.name, settings.tracking_uri)
    if gathered.synthetic:
        say(SYNTHETIC)
    for one in gathered.studied:
        test = one.subject.figures
        known = "-" if test.primary is None else with_interval(test.primary.value, test.primary.interval, 4)
        say(f"{one.task:7} {one.search.name}: test {test.metric} {known}")
        verdict = one.ensemble.verdict
        say(f"        verdict: {verdict.line if verdict else UNWRITTEN}")
    for note in gathered.notes:
        say(f"        {note}")
    with console().status("drawing the page"):
        document = contents(gathered)
        text = to_html(document) if settings.format == "html" else to_markdown(document)
    html.write(settings.file, text)
    say(html.shown(settings.file, time.monotonic() - started))
    return settings.file


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return run_command("report", write_report, ReportSettings, argv, __doc__)


if __name__ == "__main__":
    leave(main())
