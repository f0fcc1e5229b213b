"""Predict new images: original-size masks, overlays and a table, by the champion or an exported model."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from orchestrator.common.errors import UserError
from orchestrator.config.cli import DONE, FAILED, INCOMPLETE, leave, run_command
from orchestrator.config.types import Store, TaskName
from orchestrator.predict.load import load_predictor


class PredictSettings(BaseModel):
    """Settings of one prediction. Paths stay as they are given: results name them so."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    images: tuple[Path, ...] = Field(title="IMAGE|FOLDER", description="files, and folders to search")
    task: TaskName = Field(description="what the model predicts")
    out: Path = Field(title="DIR", description="folder for the results; made if absent")
    model: str = Field(
        "",
        title="URI|DIR",
        description="registry URI or exported folder [models:/breast-ultrasound-TASK@champion]",
    )
    overlays: bool = Field(True, description="draw them; without, masks and table alone")
    tracking_uri: Store = Field("", description="MLflow store [MLFLOW_TRACKING_URI, else mlflow.db here]")


def predict(settings: PredictSettings) -> int:
    """Predict, and write what was found; returns the exit code.

    Raises:
        UserError: no image, none that can be read, no such model, or a folder that is not for results.
    """
    import cv2

    from orchestrator.predict.files import find_images, make_room, predict_files
    from trainables.devices import shown

    cv2.setNumThreads(1)  # its own threads would only compete with ours
    images, closed = find_images(settings.images, settings.out)
    if not images:
        raise UserError(f"no image in {', '.join(map(str, settings.images))}; give PNG, JPEG, BMP or TIFF files")
    if settings.out.exists() and not settings.out.is_dir():
        raise UserError(f"--out {settings.out}: not a folder; name another")
    model = settings.model or f"models:/breast-ultrasound-{settings.task}@champion"
    ensemble = load_predictor(model, settings.tracking_uri or None)
    found = ensemble.description.task
    if found != settings.task:
        raise UserError(f"--model {model}: of task {found}, not {settings.task}; give --task {found} or another model")
    make_room(settings.out, images)
    report = predict_files(ensemble, images, settings.out, overlays=settings.overlays)
    report.unreadable += closed
    if not report.rows:
        path, cause = report.unreadable[0]
        others = f", nor can {len(images) - 1} others" if len(images) > 1 else ""
        raise UserError(f"{path}: cannot be read ({cause}){others}; give PNG, JPEG, BMP or TIFF files")
    for path, cause in report.unreadable:
        print(f"skipped: {path}: {cause}", file=sys.stderr)
    skipped = f", {len(report.unreadable)} skipped" if report.unreadable else ""
    print(f"{len(report.rows)} predicted on {shown(ensemble.device)}{skipped}: results in {settings.out}")
    if report.trained_on:
        print(f"{report.trained_on} of them belong to groups that the model was trained on: they look better than new")
    if ensemble.description.synthetic:
        print("SYNTHETIC: the model was trained on synthetic images; its predictions say nothing about real ones")
    print("Not a medical device.")
    return INCOMPLETE if report.unreadable else DONE


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""

    def run(settings: PredictSettings) -> int:
        try:
            return predict(settings)
        except OSError as error:  # the disk may be full
            print(f"failed: {error.filename or settings.out}: {error.strerror or error}", file=sys.stderr)
            return FAILED

    return run_command("predict", run, PredictSettings, argv, f"{__doc__} Not a medical device.")


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # "| head" ends it quietly
    leave(main())
