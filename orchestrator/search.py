"""`python -m orchestrator.search`: search architectures and hyperparameters on a folder of images."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
import yaml
from rich.console import Console

from orchestrator import dataset, pictures, resources, spaces, summary, views
from orchestrator.budget import Budget
from orchestrator.callback import SearchCallback
from orchestrator.cli import UserError, make_settings, parse_settings
from orchestrator.logs import quiet
from orchestrator.progress import SearchProgress, format_seconds
from orchestrator.searcher import StudySearch
from orchestrator.settings import SearchSettings
from orchestrator.tracking import Tracker
from orchestrator.tuner import asha, build_tuner, ray_session
from trainables.data import DataError, Prepared
from trainables.tasks import make_task
from trainables.trial import Shared

log = logging.getLogger(__name__)

DONE, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
EXIT_CODES = {"done": DONE, "failed": FAILED, "interrupted": INTERRUPTED}
RUN_STATUS = {"done": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}


def run_search(settings: SearchSettings | None = None, **fields: Any) -> dict[str, Any]:
    """Search, and return what `runs/NAME/summary.json` holds.

    Args:
        settings: settings of the search; or give its fields by name, as in `run_search(data="busi", trials=10)`.

    Raises:
        UserError: a setting is wrong or the data cannot be used; one line says what to do.
    """
    if settings and fields:
        raise UserError("give settings or fields, not both; settings.model_copy(update={...}) changes some")
    settings = settings or make_settings(SearchSettings, fields)
    if settings.folder.exists():
        raise UserError(f"--name {settings.name}: {settings.folder} exists already; choose another name")
    data, synthetic = dataset.load(settings, Console())
    make_task(settings.task, settings.classes).rows(data)
    settings.folder.mkdir(parents=True)
    (settings.folder / "settings.yaml").write_text(yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False))
    (settings.folder / "faults.txt").write_text("".join(f"{fault}\n" for fault in data.faults))
    try:
        with quiet(settings.folder / "search.log") as console, ray_session():
            return _search(settings, data, synthetic, console)
    except (UserError, DataError):
        # Raised before the first trial: the name stays free for the corrected command.
        shutil.rmtree(settings.folder)
        raise
    except KeyboardInterrupt:
        if not (settings.folder / "tune").exists():  # nothing was trained yet: the name stays free
            shutil.rmtree(settings.folder)
        raise


def _search(settings: SearchSettings, data: Prepared, synthetic: bool, console: Console) -> dict[str, Any]:
    """The story, once the data are known to be good and Ray is there."""
    began, task, budget = time.time(), make_task(settings.task, settings.classes), Budget(settings.time_budget)
    share = _share(settings)
    plan = spaces.make_plan(settings, data, share)
    tracker = Tracker(settings.tracking_uri, settings.experiment, tags=dict([views.tag(task.primary)]))
    try:
        tags = _tags(settings, data, synthetic, task.primary)
        tracker.start_search(settings.name, settings.model_dump(mode="json"), tags)
        progress = SearchProgress(console, trials=plan.trials, slots=share.slots, metric=task.primary, budget=budget)
        callback = SearchCallback(tracker, progress, budget, tags=tags, sources=plan.sources, primary=task.primary)
        metric = f"best/{task.primary}"
        searcher = StudySearch(
            plan.space,
            name=settings.name,
            folder=settings.folder,
            metric=metric,
            seed=settings.seed,
            first_points=plan.first_points,
            budget=budget,
        )
        tuner = build_tuner(
            Shared(settings.task, data, plan.sources, share.cpus, gpu=share.gpus > 0),
            searcher=searcher,
            scheduler=None if settings.recipes_only else asha(settings.epochs, metric),
            trials=plan.trials,
            resources=share,
            budget=budget,
            folder=settings.folder,
            callback=callback,
        )
        _announce(settings, plan, share, console)
        with _interruptible(budget, console), progress:
            tuner.fit()
            callback.close()
        searcher.close()
        status = "interrupted" if budget.interrupted else "done" if callback.scored() else "failed"
        found = summary.summarise(
            settings,
            data,
            callback,
            primary=task.primary,
            synthetic=synthetic,
            slots=share.slots,
            status=status,
            wall_seconds=time.time() - began,
        )
        summary.write(settings.folder, found)  # before what can take long: a second Ctrl-C must not lose it
        if not budget.interrupted:
            try:
                _log_pictures(found, data, settings.folder, tracker)
            except KeyboardInterrupt:
                console.print("pictures left out")
        # Not named best/...: the parent must not stand in the ranking beside its own best trial.
        figures = {"search/wall_seconds": found["wall_seconds"], "search/efficiency": found["efficiency"] or 0.0}
        if found["best"]:
            figures[f"search/best_{task.primary}"] = found["best"]["metric"]
        tracker.end_search(RUN_STATUS[status], figures, {})
    except Exception:
        tracker.end_search("FAILED", {}, {})
        raise
    finally:
        log.info("largest lag of MLflow writing: %.1f s", tracker.close())
    for row in found["trials"]:
        row["mlflow_run_id"] = tracker.run_id(row["trial_id"])
    summary.write(settings.folder, found)
    summary.show(found, settings, tracker.experiment_id, console)
    return found


def _share(settings: SearchSettings) -> resources.Resources:
    there = ray.cluster_resources()
    try:
        return resources.plan(
            int(there.get("CPU", 1)),
            there.get("GPU", 0.0),
            trials=spaces.most_trials(settings),
            cpus_per_trial=settings.cpus_per_trial,
            gpus_per_trial=settings.gpus_per_trial,
            max_concurrent=settings.max_concurrent,
        )
    except ValueError as error:
        raise UserError(str(error)) from None


def _tags(settings: SearchSettings, data: Prepared, synthetic: bool, primary: str) -> dict[str, str]:
    """Tags that the search and each of its trials carry."""
    return {
        "task": settings.task,
        "classes": str(settings.classes),
        "primary": primary,
        "data_fingerprint": data.data_fingerprint,
        "prepared_fingerprint": data.prepared_fingerprint,
        "data_source": settings.source,
        "synthetic": str(synthetic).lower(),
        "git_commit": _git_commit(),
    }


def _git_commit() -> str:
    """The commit of this project's own checkout; empty where there is none, or no git."""
    command = ["git", "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip()


def _announce(settings: SearchSettings, plan: spaces.Plan, share: resources.Resources, console: Console) -> None:
    each = f"{share.cpus} core{'s' * (share.cpus > 1)}" + (f", {share.gpus:g} GPU" if share.gpus else "")
    budget = f", at most {format_seconds(settings.time_budget)}" if settings.time_budget else ""
    epochs = f"up to {settings.epochs} epochs" if settings.epochs else "each recipe's own epochs"
    lines = [
        *plan.notes,
        f"search  {settings.name}: {plan.trials} trials of {epochs} at {settings.image_size} px"
        f"{budget}; {share.slots} at a time, {each} each",
    ]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _log_pictures(found: dict[str, Any], data: Prepared, folder: Path, tracker: Tracker) -> None:
    """Pictures are worth having, and not worth losing a finished search for."""
    for row in pictures.best_first(found["trials"]):
        try:
            files, scores = pictures.draw(
                Path(row["checkpoint"]),
                data,
                folder / "pictures" / row["trial_id"],
                synthetic=found["data"]["synthetic"],
            )
        except Exception:
            log.exception("no pictures of trial %s", row["trial_id"])
            continue
        for file in files:
            tracker.log_picture(row["trial_id"], file, "validation")
        original = {f"original_size/{name}": value for name, value in scores.items()}
        tracker.log(row["trial_id"], original, step=row["epochs"])


@contextmanager
def _interruptible(budget: Budget, console: Console) -> Iterator[None]:
    """Ctrl-C (or SIGTERM) once: stop cleanly. Twice: stop at once."""

    def stop(number: int, frame: object) -> None:
        if budget.interrupted:
            raise KeyboardInterrupt
        budget.interrupt()
        console.print("stopping: trials end and runs are closed; again to stop at once")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    console = Console(stderr=True)
    folder: Path | None = None
    try:
        settings = parse_settings(SearchSettings, argv, prog="python -m orchestrator.search", description=__doc__ or "")
        folder = settings.folder
        return EXIT_CODES[run_search(settings)["status"]]
    except (UserError, DataError) as error:
        console.print(f"error: {error}", markup=False, highlight=False, soft_wrap=True)
        return BAD_INPUT
    except KeyboardInterrupt:
        console.print("interrupted")
        return INTERRUPTED
    except Exception as error:
        details = folder / "search.log" if folder and folder.is_dir() else Path("search-error.log").absolute()
        with details.open("a") as file:
            traceback.print_exc(file=file)
        console.print(f"failed: {error}; details in {details}", markup=False, highlight=False, soft_wrap=True)
        return FAILED


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # Threads of libraries must not keep a finished command alive.
    os._exit(code)
