"""One launch of a search, the first or a resumed one: from good data to what is left behind."""

from __future__ import annotations

import signal
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial
from ray import tune

from orchestrator.cluster import gpu_packing, nodes, resources
from orchestrator.cluster.compatibility import HostRequirements
from orchestrator.cluster.resources import TrialResources
from orchestrator.common.console import format_seconds, say
from orchestrator.common.errors import UserError
from orchestrator.config.search import SearchSettings
from orchestrator.storage.storage import Storage, reason
from orchestrator.tracking import datasets, ui_view
from orchestrator.tracking.orphans import marks
from orchestrator.tracking.tracker import Tracker
from orchestrator.tuning import log_figures, logged_models, resume, summary
from orchestrator.tuning import plan as spaces
from orchestrator.tuning.budget import Budget
from orchestrator.tuning.callback import SearchCallback
from orchestrator.tuning.ledger import Ledger
from orchestrator.tuning.plan import Plan
from orchestrator.tuning.progress import SearchProgress
from orchestrator.tuning.resume import identity_of, tags_of
from orchestrator.tuning.scheduler import Asha
from orchestrator.tuning.searcher import StudySearch, mend_study, open_study
from orchestrator.tuning.tuner import build_tuner
from orchestrator.tuning.warm_start import finished_trials
from trainables.data import Prepared
from trainables.tasks import make_task
from trainables.trial import Trial, TrialContext

RUN_STATUS = {"done": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}


def launch(
    settings: SearchSettings,
    data: Prepared,
    ledger: Ledger,
    *,
    fitting: HostRequirements | None = None,
) -> dict[str, Any]:
    """Run what is left of a search; returns what `summary.json` holds.

    Args:
        fitting: what hosts of a cluster must have.

    Raises:
        UserError: the search cannot begin, or it is not the one that the ledger holds.
    """
    plan, share = _plan(settings, data, ledger)
    if resume.stored(settings.home, settings.name)["tracking_uri"] != settings.tracking_uri:
        log_figures.log_again(settings.files.pictures)
    resume.write(settings.folder, settings.stored())
    settings.files.faults.write_text("".join(f"{fault}\n" for fault in data.faults))
    identity = identity_of(settings, data, plan)
    identity["id"] = ledger.identity.get("id", uuid.uuid4().hex)
    known = finished_trials(settings, identity) if settings.warm_start and not ledger.trials else []
    task = make_task(settings.task, settings.classes)
    primary = task.primary
    tags = tags_of(settings, data, primary)
    tracker = Tracker(settings.tracking_uri, settings.experiment, tags=dict([ui_view.tag(primary)]))
    try:
        ledger.launch(identity, share.gpus)
        own = {**tags, **marks(settings.files.ledger)}
        told = datasets.dataset(data, settings.source)
        tracker.start_search(settings.name, settings.model_dump(mode="json"), own, identity["id"], data=told)
        storage = Storage.of(settings.storage)
        ledger.settle(storage)
        for record in ledger.unfinished():
            resume.drop_strays(settings.folder, record, storage)
        budget = Budget(ledger, settings.time_budget, settings.gpu_hours, share.gpus * share.slots)
        progress = SearchProgress(trials=plan.trials, slots=share.slots, metric=primary, budget=budget)
        callback = SearchCallback(
            ledger,
            tracker,
            progress,
            budget,
            storage=storage,
            tags=tags,
            sources=plan.sources,
            primary=primary,
            fitting=fitting,
        )
        _announce(settings, plan, share, ledger)
        if known:
            line = f"warm    {len(known)} finished trials of {settings.warm_start}"
            say(line)
        shared = TrialContext(settings.task, data, plan.sources, share.cpus, gpu=share.gpus > 0, fitting=fitting)
        _train(settings, shared, plan, share, ledger, budget, callback, progress, known)
        found = summary.summarise(settings, data, ledger, callback, budget, slots=share.slots)
        summary.write(settings.folder, found)  # before what can take long: a second Ctrl-C must not lose it
        shown = list[Path]()
        if found["status"] == "done":
            folder, rows = settings.files.pictures, found["trials"]
            shown = log_figures.log_all(task, rows, data, folder, share, tracker, storage)
        found["tracking_lag_seconds"] = round(tracker.lag, 3)
        tracker.end_search(RUN_STATUS[found["status"]], summary.figures(found), {"why": found["why"]})
    except Exception:
        tracker.end_search("FAILED", {}, {})
        raise
    finally:
        written = tracker.close()
        if not written:
            say(f"--resume {settings.name} writes it later")
    for row in found["trials"]:
        row["mlflow_run_id"] = tracker.run_id(row["trial_id"])
    if found["status"] == "done" and written:
        for pictured in shown:
            (pictured / log_figures.LOGGED).touch()
        _log_models(settings, data, found)
    summary.write(settings.folder, found)
    summary.show(found, settings, tracker.experiment_id)
    return found


def _log_models(settings: SearchSettings, data: Prepared, found: dict[str, Any]) -> None:
    try:
        logged_models.log_best(
            found["trials"],
            settings.tracking_uri,
            settings.folder,
            Storage.of(settings.storage),
            data,
        )
    except KeyboardInterrupt:
        say("models left out")


def _plan(settings: SearchSettings, data: Prepared, ledger: Ledger) -> tuple[Plan, TrialResources]:
    """What to try and on what, agreeing with what the ledger holds."""
    hosts = nodes.possible()
    with_gpus = [host for host in hosts if host.gpus]

    def share(gpus_per_trial: float | None) -> TrialResources:
        try:
            return resources.plan(
                hosts,
                trials=spaces.most_trials(settings),
                cpus_per_trial=settings.cpus_per_trial,
                gpus_per_trial=gpus_per_trial,
                max_concurrent=settings.max_concurrent,
            )
        except ValueError as error:
            raise UserError(str(error)) from None

    fixed = None if settings.gpus_per_trial == "auto" else settings.gpus_per_trial
    shared = share(fixed)
    plan = spaces.make_plan(settings, data, shared, ledger.identity)
    notes = list(plan.notes)
    if ledger.identity:
        resume.check_identity(identity_of(settings, data, plan), ledger.identity, settings.name)
    if settings.gpus_per_trial == "auto" and with_gpus:
        costly = gpu_packing.largest(
            settings.task,
            [(choice.architecture, choice.encoder) for choice in plan.choices],
            image_size=settings.image_size,
            classes=settings.classes,
            batch_size=settings.batch_size or max(spaces.BATCH_SIZES),
        )
        each = settings.cpus_per_trial or 1
        host = min(with_gpus, key=lambda host: host.cpus / host.gpus)
        fraction, reason = gpu_packing.gpus_per_trial(
            settings.task, costly, data, plan.sources, host.cpus, host.gpus, each
        )
        shared = share(fraction)
        notes.append(reason)
    if settings.gpu_hours and not shared.gpus:
        raise UserError("--gpu-hours: trials use no GPU here; use --time-budget")
    for note in notes:
        say(note)
    return plan, shared


def _train(
    settings: SearchSettings,
    shared: TrialContext,
    plan: Plan,
    share: TrialResources,
    ledger: Ledger,
    budget: Budget,
    callback: SearchCallback,
    progress: SearchProgress,
    known: list[FrozenTrial],
) -> None:
    """Take study, rungs, runs and table to where the ledger is, then run the trials that are left."""
    storage = Storage.of(settings.storage)
    mend_study(settings.folder)
    study = open_study(settings.folder, settings.name)
    study.add_trials(known[len(study.get_trials(deepcopy=False)) :])  # a crash may have come between
    metric = callback.metric
    scheduler = None if settings.recipes_only else Asha(settings.epochs, metric)
    if scheduler:
        for trial_id in scheduler.replay(ledger.history, ledger.trials):
            ledger.add("ended", trial_id, state="asha", reason="")
    searcher = StudySearch(
        plan.space,
        study=study,
        ledger=ledger,
        budget=budget,
        metric=metric,
        seed=settings.seed,
        first_points=plan.first_points,
        trials=plan.trials,
        slots=nodes.slots(share, settings.max_concurrent),
        storage=storage,
    )
    callback.replay(ledger.history)
    ledger.history.clear()
    tuner = build_tuner(
        tune.with_parameters(Trial, shared=shared),
        searcher=searcher,
        scheduler=scheduler,
        resources=share,
        budget=budget,
        storage=storage,
        folder=settings.folder,
        launch=ledger.launches,
        callback=callback,
    )
    with _interruptible(budget), progress:
        try:
            if not searcher.is_finished():
                tuner.fit()
        except OSError as error:
            if not storage.uri or error.errno is not None:  # of this host
                raise
            # Tune reads it once more when all trials have stopped.
            budget.give_up(f"storage {storage.uri} cannot be used ({reason(error)}); see to it, then resume")
        finally:
            callback.close()
    searcher.close()


def _announce(settings: SearchSettings, plan: Plan, share: TrialResources, ledger: Ledger) -> None:
    each = f"{share.cpus} core{'s' * (share.cpus > 1)}" + (f", {share.gpus:g} GPU" if share.gpus else "")
    budget = f", at most {format_seconds(settings.time_budget)}" if settings.time_budget else ""
    budget += f", at most {settings.gpu_hours:g} GPU-hours" if settings.gpu_hours else ""
    epochs = f"up to {settings.epochs} epochs" if settings.epochs else "each recipe's own epochs"
    line = (
        f"search  {settings.name}: {plan.trials} trials of {epochs} at {settings.image_size} px"
        f"{budget}; {share.slots} at a time, {each} each"
    )
    say(line)
    if ledger.launches > 1:
        ended = sum(record.ended for record in ledger.trials.values())
        goes_on = len(ledger.trials) - ended
        line = f"resumed after {format_seconds(ledger.spent)}: {ended} trials are done, {goes_on} go on"
        say(line)


@contextmanager
def _interruptible(budget: Budget) -> Iterator[None]:
    """Ctrl-C (or SIGTERM) once: stop after the running epochs. Twice: stop at once."""

    def stop(number: int, frame: object) -> None:
        if budget.interrupted:
            raise KeyboardInterrupt
        budget.interrupt()
        say("stopping after the epochs that are running; again to stop at once")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
