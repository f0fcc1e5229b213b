"""`python -m orchestrator.search`: search architectures and hyperparameters on a folder of images."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.common.errors import UserError
from orchestrator.config.cli import (
    DONE,
    FAILED,
    INTERRUPTED,
    given_or_made,
    leave,
    make_settings,
    run_command,
    starting,
)
from orchestrator.config.ensemble import EnsembleSettings
from orchestrator.config.search import SearchSettings
from orchestrator.storage.storage import Storage
from orchestrator.tuning import resume
from orchestrator.tuning.ledger import Ledger
from orchestrator.tuning.reserve import MOST

if TYPE_CHECKING:
    from orchestrator.tuning.summary import SearchSummary

#: Settings that the ensemble at the end of a search has from it.
SHARED = {"task", "top_k", "boost_rounds", "storage", "tracking_uri", "seed"}
EXIT_CODES = {"done": DONE, "failed": FAILED, "interrupted": INTERRUPTED}


def run_search(settings: SearchSettings | None = None, **fields: Any) -> SearchSummary:
    """Search, and return what `runs/NAME/summary.json` holds.

    Args:
        settings: settings of the search; or give its fields by name, as in `run_search(data="busi", trials=10)` or
            `run_search(resume="seg-20261121-200000", trials=20)`.

    Raises:
        UserError: a setting is wrong or the data cannot be used; one line says what to do.
    """
    began = time.monotonic()
    settings = given_or_made(settings, fields, resume.load)
    if settings.dry_run:
        raise UserError("dry_run: for the command; a dry run has no summary to return")
    if settings.resume and not settings.name:
        settings = resume.load(settings.model_dump(exclude_unset=True))
    storage, folder, name = Storage.of(settings.storage), settings.folder, settings.name
    if problem := storage.trouble():
        raise UserError(f"--storage {settings.storage}: {problem}")
    if settings.weights_folder and not settings.weights_folder.is_dir():
        raise UserError(f"--weights: {settings.weights!r} is neither auto, imagenet, none nor a folder that exists")
    taken = folder.exists() or storage.has(settings.files.settings)
    if taken and not settings.resume:
        where = folder if folder.exists() else storage.shown(folder)
        raise UserError(f"--name {name}: {where} exists already; choose another name, or --resume {name}")
    with starting(_first_line(settings)):
        from orchestrator.cluster.compatibility import joined
        from orchestrator.cluster.session import ray_session
        from orchestrator.common.logs import quiet
        from orchestrator.config import loading
        from orchestrator.ensemble.plan import forecast
        from orchestrator.ensemble.run import build
        from orchestrator.storage.mirror import mirrored
        from orchestrator.tuning.launch import launch
        from orchestrator.tuning.notification import notifying
        from trainables.tasks import make_task

    # Locked before the data are read, which can take long; a new search has nothing to lock before they are good.
    ledger = Ledger(settings.folder) if settings.resume else None
    try:
        settings.files.sweep()
        data = loading.load(settings)
        make_task(settings.task, settings.classes).rows(data)
        if ledger is None:
            resume.make_folder(folder, settings.stored())
            ledger = Ledger(folder)
        with (
            notifying(settings.notify, settings.files.summary),
            quiet(settings.files.log),
            ray_session(settings.address, settings.dashboard),
            mirrored(storage, folder),  # first: workers are waited for without a limit
            joined(
                settings.address, storage, settings.cpus_per_trial, settings.fixed_gpus, settings.weights_folder
            ) as fitting,
        ):
            follows, spent, before = forecast(settings, data), ledger.spent, time.monotonic() - began
            found = launch(settings, data, ledger, before=before, forecast=follows, fitting=fitting)
            if follows.candidates and found.status == "done":
                budget = settings.time_budget
                # The ensemble of a search that is resumed with its time spent has what is left to one at most.
                deadline = None if budget is None else began + max(budget - spent, MOST * budget)
                ensemble = {"name": settings.name, **settings.model_dump(include=SHARED)}
                build(make_settings(EnsembleSettings, ensemble), settings, data, deadline=deadline)
            return found
    except BaseException:
        # Nothing was tried yet: the name stays free for the corrected command.
        if ledger and not ledger.trials and not settings.resume:
            ledger.close()  # some systems delete nothing that is open
            storage.delete(folder)
        raise
    finally:
        if ledger:
            ledger.close()


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""

    def run(settings: SearchSettings) -> int:
        if settings.dry_run:
            with starting(_first_line(settings)):
                from orchestrator.ensemble.plan import forecast
                from orchestrator.tuning.rehearsal import rehearse

            rehearse(settings, forecast)
            return DONE
        return EXIT_CODES[run_search(settings).status]

    return run_command("search", run, SearchSettings, argv, __doc__, make=resume.load, log=lambda one: one.files.log)


def _first_line(settings: SearchSettings) -> str:
    return f"search {settings.task} on {settings.source}: loading torch, Ray and MLflow"


if __name__ == "__main__":
    leave(main())
