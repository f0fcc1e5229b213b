"""Predict new images: original-size masks, overlays and a table, by the champion or an exported model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from orchestrator.common.console import complain, say
from orchestrator.common.errors import UserError
from orchestrator.common.steps import steps
from orchestrator.config.cli import DONE, FAILED, INCOMPLETE, leave, run_command, starting
from orchestrator.config.command import CommandSettings
from orchestrator.config.types import Address, DeviceName, GivenPath, Plugins, Store, TaskName
from orchestrator.predict.load import load_versioned


class PredictSettings(CommandSettings):
    """Settings of one prediction. Paths stay as they are given: results name them so."""

    GROUPS: ClassVar[dict[str, tuple[str, ...]]] = {
        "images": ("images",),
        "model": ("task", "model", "plugin", "device", "tracking_uri"),
        "results": ("out", "overlays"),
    }
    EXAMPLES: ClassVar[tuple[str, ...]] = (
        "--task seg --out predictions path/to/images",
        "--task cls --model model --out predictions image.png",
    )

    images: tuple[GivenPath, ...] = Field(title="IMAGE|FOLDER", description="files, and folders to search")
    task: TaskName = Field(description="what the model predicts")
    out: GivenPath = Field(title="DIR", description="folder for the results; made if absent")
    model: Address = Field(
        "",
        title="URI|DIR",
        description="registry URI or exported folder [models:/breast-ultrasound-TASK@champion]",
    )
    device: DeviceName = Field("auto", description="what computes: CUDA's GPU where there is one, else the CPU [auto]")
    overlays: bool = Field(True, description="draw them; without, masks and table alone")
    plugin: Plugins = ()
    tracking_uri: Store = Field("", title="URI", description="MLflow store [MLFLOW_TRACKING_URI, else mlflow.db here]")


def predict(settings: PredictSettings) -> int:
    """Predict, and write what was found; returns the exit code.

    Raises:
        UserError: no image, none that can be read, no such model, or a folder that is not for results. Former results
            are then as they were.
    """
    with starting(f"predict {settings.task} into {settings.out}: loading torch"):
        import cv2

        from orchestrator.predict.files import predict_files
        from orchestrator.predict.find import find_images
        from orchestrator.predict.results import MASKS, OVERLAYS, TABLE, Results
        from orchestrator.predict.table import Source, summary, write_table
        from trainables.devices import shown

    cv2.setNumThreads(1)  # its own threads would only compete with ours
    images, unreadable = find_images(settings.images, settings.out)
    if not images:
        raise _nothing(settings, unreadable)
    folders = [MASKS, *([OVERLAYS] if settings.overlays else [])] if settings.task != "cls" else []
    results = Results(settings.out)
    planned = [TABLE, *(f"{folder}/{image.png}" for folder in folders for image in images)]
    results.check(planned, [image.path for image in images])
    model = settings.model or f"models:/breast-ultrasound-{settings.task}@champion"
    with steps() as at:
        at.begin("loading the model")
        ensemble, version, verdict = load_versioned(model, settings.tracking_uri or None, settings.device)
    described = ensemble.description
    if described.task != settings.task:
        advice = f"give --task {described.task} or another model"
        raise UserError(f"--model {model}: of task {described.task}, not {settings.task}; {advice}")
    known = f", version {version}" if version else ""
    say(
        f"model   {model}{known}: task {described.task}, {described.main.combination.name}; on {shown(ensemble.device)}"
    )
    source = Source(model, version, ensemble.threshold)
    with results.staged() as part:
        with steps() as at:
            at.begin("predicting images", len(images))
            report = predict_files(ensemble, images, part, overlays=settings.overlays, progress=at)
        unreadable += report.unreadable
        if not report.rows:
            raise _nothing(settings, unreadable)
        write_table(part / TABLE, report.rows, source)
        results.swap(part)
    for path, cause in unreadable:
        complain(f"skipped: {path}: {cause}")
    failed = report.unusable()
    for path, cause in failed:
        complain(f"no result: {path}: {cause}")
    if report.trained_on:
        say(f"{report.trained_on} of them belong to groups that the model was trained on: they look better than new")
    if described.synthetic:
        say("SYNTHETIC: the model was trained on synthetic images; its predictions say nothing about real ones")
    say(f"the model is {verdict or 'without a verdict: an older version wrote it'}")
    say("Not a medical device.")
    skipped = f", {len(unreadable):,} skipped" if unreadable else ""
    say(f"{summary(report.rows, source)}{skipped}: results in {settings.out}")
    return INCOMPLETE if unreadable or failed else DONE


def _nothing(settings: PredictSettings, unreadable: Sequence[tuple[Path, str]]) -> UserError:
    """Why nothing can be predicted."""
    advice = "give PNG, JPEG, BMP or TIFF files, or folders of them"
    if not unreadable:
        return UserError(f"no image in {', '.join(map(str, settings.images))}; {advice}")
    path, cause = unreadable[0]
    others = f", nor can {len(unreadable) - 1:,} others be read" if len(unreadable) > 1 else ""
    return UserError(f"{path}: {cause}{others}; {advice}")


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""

    def run(settings: PredictSettings) -> int:
        try:
            return predict(settings)
        except OSError as error:  # the disk may be full
            complain(f"failed: {error.filename or settings.out}: {error.strerror or error}")
            return FAILED

    return run_command("predict", run, PredictSettings, argv, f"{__doc__} Not a medical device.", piped=True)


if __name__ == "__main__":
    leave(main())
