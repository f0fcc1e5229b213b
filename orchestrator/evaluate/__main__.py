"""`python -m orchestrator.evaluate`: external validation of a model on images that it has not seen; writes one page."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field
from rich.table import Table

from orchestrator.common.console import console, say
from orchestrator.common.errors import UserError
from orchestrator.common.steps import steps
from orchestrator.config.cli import leave, run_command, starting
from orchestrator.config.data import DataSettings
from orchestrator.config.types import Address, DeviceName, Folder, Store
from orchestrator.rendering import html

if TYPE_CHECKING:
    from orchestrator.ensemble.result import OwnResults
    from orchestrator.scoring.final_scores import ModelScores

#: Metrics of the table in the terminal; all of them are on the page.
SHORT = ("score", "dice", "fpr_normal", "hd95", "auroc", "auroc_malignant", "accuracy", "f1")


class EvaluateSettings(DataSettings):
    """Settings of one evaluation."""

    GROUPS: ClassVar[dict[str, tuple[str, ...]]] = {
        "model": ("model", "plugin", "device", "tracking_uri"),
        "data": ("data", "layout", "patient", "resize_masks", "duplicate_distance"),
        "the page": ("out", "format"),
    }
    EXAMPLES: ClassVar[tuple[str, ...]] = (
        "--model models:/breast-ultrasound-seg@champion --data other/images --out evaluation.html",
        "--model exported/model --data other/images --format md",
    )

    model: Address = Field(
        "",
        title="URI|DIR",
        description="models:/NAME@champion, models:/NAME/VERSION, or an exported folder [required]",
    )
    data: tuple[Folder, ...] = Field(
        (), title="DIR|FILE.csv", description="folders of images, or CSV tables; no split is needed [required]"
    )
    out: Folder | None = Field(
        None, title="FILE", description="the page to write; the figures stand beside it [evaluation.html]"
    )
    format: Literal["html", "md"] = Field("html", description="of the page; Markdown has the same tables")
    duplicate_distance: int | None = Field(
        None,
        ge=0,
        le=256,
        title="BITS",
        description="largest hash distance of near-duplicates among these images, of 256 bits; those of the model's "
        "training images are looked for at its own at least [the model's own]",
    )
    tracking_uri: Store = Field(
        "", title="URI", description="MLflow store, for models:/ [MLFLOW_TRACKING_URI, else mlflow.db here]"
    )
    device: DeviceName = Field("auto", description="what computes: CUDA's GPU where there is one, else the CPU [auto]")

    def files(self) -> tuple[Path, Path]:
        """The page and, beside it, the file of its figures.

        Raises:
            UserError: no page can be written there.
        """
        out = self.out or Path(f"evaluation.{self.format}").absolute()
        html.check_place(out, self.format)
        beside = out.with_suffix(".json")
        if beside.exists() and not _is_ours(beside):
            raise UserError(
                f"--out {out}: the figures would replace {beside}, which is of something else; name another"
            )
        return out, beside


def _is_ours(file: Path) -> bool:
    """Whether a file holds the figures of an evaluation."""
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and {"external", "near_duplicates_known"} <= set(found)


def evaluate(settings: EvaluateSettings) -> Path:
    """Read the data, predict what is new to the model, and write the page and its figures; returns the page.

    Raises:
        UserError, DataError: no such model, data that cannot be used, nothing left to score, a page that cannot be
            written.
    """
    started = time.monotonic()
    if not settings.model:
        raise UserError("--model: name one: models:/NAME@champion, models:/NAME/VERSION or an exported folder")
    if not settings.data:
        raise UserError("--data: name a folder of images, or a CSV table")
    out, beside = settings.files()
    with starting(f"evaluate {settings.model} on {settings.source}: loading torch"):
        import cv2

        from orchestrator.evaluate.external import as_subject, ask
        from orchestrator.evaluate.findings import Evaluation
        from orchestrator.evaluate.judging import judge_external
        from orchestrator.evaluate.leakage import fresh_images
        from orchestrator.evaluate.page import document
        from orchestrator.rendering.document import to_html
        from orchestrator.rendering.markdown import to_markdown
        from orchestrator.report.results.answers import UNWRITTEN
        from trainables import devices
        from trainables.data import is_phantom
        from trainables.data.sources import read_sources

    cv2.setNumThreads(1)  # its own threads would only compete with ours
    with steps() as at:
        at.begin("reading the data")
        manifest = read_sources(settings.data, settings.layout, settings.patient, resize_masks=settings.resize_masks)
        at.begin("loading the model")
        ensemble, learnt_from, results = _load(settings)
    description = ensemble.description
    device = devices.shown(ensemble.device)
    say(f"model   {settings.model}: task {description.task}, {description.main.combination.name}; on {device}")
    for one in manifest.datasets:
        say(f"data    {one.root} ({one.layout} layout), {len(one.records):,} images")
    with steps() as at:

        def examined(done: int, total: int) -> None:
            at(done, total)
            if done == total:
                at.begin("looking for near-duplicates")

        at.begin("examining images", len(manifest.records))
        fresh = fresh_images(manifest, description, learnt_from, examined, settings.duplicate_distance)
        at.begin("predicting images", len(fresh.rows))
        fresh, measured, unsure, truth = ask(ensemble, fresh, at)
        at.begin("computing figures and drawing the page")
        judged = {"here": judge_external(description, fresh, measured.scored, truth)}
        subject = replace(as_subject(description, fresh, measured, unsure, manifest), judged=judged)
        found = Evaluation(
            model=settings.model,
            description=description,
            manifest=manifest,
            fresh=fresh,
            subject=subject,
            results=results,
            hashed=learnt_from is not None,
            synthetic=any(is_phantom(one.root) for one in manifest.datasets),
        )
        shown = document(found)
        text = to_html(shown) if settings.format == "html" else to_markdown(shown)
    seconds = round(time.monotonic() - started, 1)
    html.write(beside, json.dumps(found.to_json() | {"seconds": seconds}, indent=2, allow_nan=False) + "\n")
    html.write(out, text)
    for where, given in found.verdicts().items():
        say(f"verdict {where}: {given.line if given else UNWRITTEN}")
    for line in found.told():
        say(f"        {line}")
    _table(found.columns())
    say(f"{html.shown(out, seconds)}; figures in {beside}")
    say("Not a medical device.")
    return out


def _load(settings: EvaluateSettings) -> tuple[Any, Any, OwnResults | None]:
    """The ensemble, the images that it learnt from, and its own results.

    Raises:
        UserError: no model there, or a damaged one.
    """
    from orchestrator.ensemble.result import OwnResults
    from orchestrator.inference.format import locate, read_learnt_from
    from orchestrator.inference.predictor import Predictor
    from orchestrator.tracking.download import downloaded

    with downloaded(settings.model, settings.tracking_uri or None) as found:
        folder = locate(found.folder, settings.model)
        return Predictor.load(folder, settings.device), read_learnt_from(folder), OwnResults.read(folder)


def _table(columns: Mapping[str, ModelScores]) -> None:
    """Print the figures that matter most, with intervals, a column a result."""
    from orchestrator.report.results.scores import metric_rows

    short = [
        one.model_copy(update={"scores": {name: score for name, score in one.scores.items() if name in SHORT}})
        for one in columns.values()
    ]
    table = Table(box=None, pad_edge=False)
    for name in ("metric", *columns):
        table.add_column(name)
    for row in metric_rows(short)[0]:
        table.add_row(*map(str, row))
    console().print(table)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return run_command("evaluate", evaluate, EvaluateSettings, argv, __doc__)


if __name__ == "__main__":
    leave(main())
