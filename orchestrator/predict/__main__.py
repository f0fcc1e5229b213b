"""`python -m orchestrator.predict`: masks, classes and a table for new images, by the champion or an exported model."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.common.errors import UserError

if TYPE_CHECKING:
    from orchestrator.inference.predictor import Predictor

TASKS = ("seg", "cls", "multi")
DONE, FAILED, BAD_INPUT, INCOMPLETE, INTERRUPTED = 0, 1, 2, 3, 130


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Returns its exit code: 0 done, 1 failed, 2 bad input, 3 some files could not be read."""
    options = _parser().parse_args(argv)
    try:
        return _predict(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    except OSError as error:  # the disk may be full
        print(f"failed: {error.filename or options.out}: {error.strerror or error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED


def load(model: str, task: str, tracking_uri: str | None = None) -> Predictor:
    """The ensemble at an address.

    Args:
        model: registry URI (`models:/NAME@ALIAS`, `models:/NAME/VERSION`), or a folder: an exported
            model, for which no MLflow store is needed nor looked at.
        task: that it must be of.
        tracking_uri: MLflow store, for a registry URI.

    Raises:
        UserError: no model there, a damaged one, or one of another task.
    """
    from orchestrator.inference.format import locate
    from orchestrator.inference.predictor import Predictor
    from orchestrator.tracking.download import downloaded

    with downloaded(model, tracking_uri) as folder:
        ensemble = Predictor.load(locate(folder, model))
    found = ensemble.description.task
    if found != task:
        raise UserError(f"--model {model}: of task {found}, not {task}; give --task {found} or another model")
    return ensemble


def _predict(options: argparse.Namespace) -> int:
    import cv2

    from orchestrator.predict.files import find_images, make_room, predict_files

    cv2.setNumThreads(1)  # its own threads would only compete with ours
    images, closed = find_images(options.images, options.out)
    if not images:
        raise UserError(f"no image in {', '.join(map(str, options.images))}; give PNG, JPEG, BMP or TIFF files")
    if options.out.exists() and not options.out.is_dir():
        raise UserError(f"--out {options.out}: not a folder; name another")
    model = options.model or f"models:/breast-ultrasound-{options.task}@champion"
    ensemble = load(model, options.task, options.tracking_uri)
    make_room(options.out, images)
    report = predict_files(ensemble, images, options.out, overlays=options.overlays)
    report.unreadable += closed
    if not report.rows:
        path, cause = report.unreadable[0]
        others = f", nor can {len(images) - 1} others" if len(images) > 1 else ""
        raise UserError(f"{path}: cannot be read ({cause}){others}; give PNG, JPEG, BMP or TIFF files")
    for path, cause in report.unreadable:
        print(f"skipped: {path}: {cause}", file=sys.stderr)
    skipped = f", {len(report.unreadable)} skipped" if report.unreadable else ""
    print(f"{len(report.rows)} predicted{skipped}: results in {options.out}")
    if report.trained_on:
        print(f"{report.trained_on} of them belong to groups that the model was trained on: they look better than new")
    if ensemble.description.synthetic:
        print("SYNTHETIC: the model was trained on synthetic images; its predictions say nothing about real ones")
    print("Not a medical device.")
    return INCOMPLETE if report.unreadable else DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m orchestrator.predict",
        description="Predict new images: original-size masks, overlays and a table. Not a medical device.",
        allow_abbrev=False,
    )
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE|FOLDER", help="files, and folders to search")
    parser.add_argument("--task", choices=TASKS, required=True, help="what the model predicts")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the results; made if absent")
    parser.add_argument(
        "--model", metavar="URI|DIR", help="registry URI or exported folder [models:/breast-ultrasound-TASK@champion]"
    )
    parser.add_argument("--no-overlays", dest="overlays", action="store_false", help="masks and table alone")
    parser.add_argument("--tracking-uri", metavar="URI", help="MLflow store [MLFLOW_TRACKING_URI, else mlflow.db here]")
    return parser


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # "| head" ends it quietly
    code = main()
    sys.stdout.flush()
    # Threads of libraries must not keep a finished command alive.
    os._exit(code)
