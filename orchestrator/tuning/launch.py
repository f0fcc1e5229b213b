"""One launch of a search, the first or a resumed one: from good data to what is left behind."""

from __future__ import annotations

import uuid
from pathlib import Path

from optuna.trial import FrozenTrial
from ray import tune

from orchestrator.cluster import cards, gpu_packing, nodes, resources
from orchestrator.cluster.compatibility import HostRequirements
from orchestrator.cluster.resources import TrialResources
from orchestrator.common.console import say
from orchestrator.common.errors import UserError
from orchestrator.common.signals import interruptible
from orchestrator.config.loading import write_faults
from orchestrator.config.search import SearchSettings
from orchestrator.storage.atomic import write_text
from orchestrator.storage.storage import reason
from orchestrator.tracking import datasets, description, ui_view
from orchestrator.tracking.orphans import marks
from orchestrator.tracking.tracker import Tracker
from orchestrator.tuning import log_figures, logged_models, resume, terminal
from orchestrator.tuning.budget import Budget
from orchestrator.tuning.callback import SearchCallback
from orchestrator.tuning.ledger import Ledger
from orchestrator.tuning.plan import BATCH_SIZES, Plan, make_plan, most_trials
from orchestrator.tuning.progress import SearchProgress
from orchestrator.tuning.reserve import NOTHING, Forecast
from orchestrator.tuning.rungs import Rungs, levels
from orchestrator.tuning.scheduler import Asha
from orchestrator.tuning.search_run import SearchRun
from orchestrator.tuning.searcher import StudySearch, mend_study, open_study
from orchestrator.tuning.summary import SearchSummary, summarise
from orchestrator.tuning.tuner import build_tuner
from orchestrator.tuning.warm_start import finished_trials
from trainables.data import Prepared
from trainables.plugins import loaded
from trainables.trial import Trial, TrialContext

RUN_STATUS = {"done": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}


def launch(
    settings: SearchSettings,
    data: Prepared,
    ledger: Ledger,
    *,
    before: float = 0.0,
    forecast: Forecast = NOTHING,
    fitting: HostRequirements | None = None,
) -> SearchSummary:
    """Run what is left of a search.

    Args:
        before: seconds from the command's start until now.
        forecast: of the ensemble that follows.
        fitting: what hosts of a cluster must have.

    Raises:
        UserError: the search cannot begin, or it is not the one that the ledger holds.
    """
    plan, share = plan_launch(settings, data, ledger)
    run = SearchRun(settings, data, plan, share, ledger, before, forecast, fitting)
    stored = resume.stored(settings.home, settings.name)
    if (stored.get("tracking_uri"), stored.get("experiment")) != (settings.tracking_uri, settings.experiment):
        log_figures.log_again(settings.files.pictures)
    resume.write(settings.folder, settings.stored())
    write_faults(settings.files.faults, data.faults)
    identity = plan.identity(settings, data, ledger.identity.id if ledger.identity else uuid.uuid4().hex)
    known = finished_trials(settings, identity) if settings.warm_start and not ledger.trials else []
    view = dict([ui_view.tag(run.task.primary)])
    tracker = Tracker(settings.tracking_uri, settings.experiment, tags=view, describe=description.update)
    pictured = list[Path]()
    try:
        ledger.launch(identity, share.gpus)
        tags = {**run.tags, **marks(settings.files.lock)}
        told = datasets.dataset(data, settings.source)
        params = settings.model_dump(mode="json", exclude={"notify"})
        tracker.start_search(settings.name, params, tags, identity.id, data=told)
        ledger.settle(run.storage)
        for record in ledger.unfinished():
            resume.drop_strays(settings.folder, record, run.storage)
        terminal.announce(settings, plan, share)
        terminal.timetable(run.budget, run.reserve)
        terminal.resumed(ledger)
        if known:
            say(f"warm    {len(known)} finished trials of {settings.warm_start}")
        _train(run, tracker, known)
        found = summarise(run)
        write_text(settings.files.summary, found.to_json())  # before what can take long: a second Ctrl-C keeps it
        if found.status == "done":
            pictured = log_figures.log_all(run, found.trials, tracker)
        found = found.model_copy(update={"tracking_lag_seconds": round(tracker.lag, 3)})
        tracker.end_search(RUN_STATUS[found.status], found.figures(), {"why": found.why, description.TAG: found.note})
    except Exception:
        tracker.end_search("FAILED", {}, {})
        raise
    finally:
        written = tracker.close()
        if not written:
            say(f"--resume {settings.name} writes it later")
    found = found.with_runs(tracker.run_id)
    if found.status == "done" and written:
        for folder in {*pictured} - {file.parent for file in tracker.unwritten}:
            (folder / log_figures.LOGGED).touch()
        try:
            logged_models.log_best(run, found.trials)
        except KeyboardInterrupt:
            say("models left out")
    write_text(settings.files.summary, found.to_json())
    terminal.show(found, settings, tracker.experiment_id)
    return found


def plan_launch(settings: SearchSettings, data: Prepared, ledger: Ledger | None) -> tuple[Plan, TrialResources]:
    """What to try and on what, agreeing with what the ledger holds, if there is one; says what a user should know.

    Raises:
        UserError: nothing can be tried, or it would be another search.
    """
    identity = ledger.identity if ledger else None
    hosts = nodes.possible()
    with_gpus = [host for host in hosts if host.gpus]

    def share(gpus_per_trial: float | None) -> TrialResources:
        try:
            return resources.plan(
                hosts,
                trials=most_trials(settings),
                cpus_per_trial=settings.cpus_per_trial,
                gpus_per_trial=gpus_per_trial,
                max_concurrent=settings.max_concurrent,
            )
        except ValueError as error:
            raise UserError(str(error)) from None

    shared = share(settings.fixed_gpus)
    plan = make_plan(settings, data, shared, identity)
    notes = list(plan.notes)
    if identity:
        resume.check_identity(plan.identity(settings, data), identity, settings.name)
    found = cards.tried() if shared.gpus else {}
    notes += cards.notes(found)
    if settings.gpus_per_trial == "auto" and with_gpus:
        costly = gpu_packing.largest(
            settings.task,
            [(choice.architecture, choice.encoder) for choice in plan.choices],
            image_size=settings.image_size,
            classes=settings.classes,
            batch_size=settings.batch_size or max(BATCH_SIZES),
        )
        each = settings.cpus_per_trial or 1
        host = min(with_gpus, key=lambda host: host.cpus / host.gpus)
        fraction, reason = gpu_packing.gpus_per_trial(
            settings.task, costly, data, plan.sources, host, each, cards.least_memory(found)
        )
        shared = share(fraction)
        notes.append(reason)
    if settings.gpu_hours and not shared.gpus:
        raise UserError("--gpu-hours: trials use no GPU here; use --time-budget")
    for note in notes:
        say(note)
    return plan, shared


def _train(run: SearchRun, tracker: Tracker, known: list[FrozenTrial]) -> None:
    """Take study, rungs, runs and table to where the ledger is, then run the trials that are left."""
    settings, plan, share, ledger, budget = run.settings, run.plan, run.share, run.ledger, run.budget
    mend_study(settings.folder)
    study = open_study(settings.folder, settings.name)
    study.add_trials(known[len(study.get_trials(deepcopy=False)) :])  # a crash may have come between
    epochs = 0 if settings.recipes_only else settings.epochs  # recipes are what is compared: none waits
    rungs = Rungs(epochs)
    scheduler = Asha(rungs, run.metric)
    for trial_id in scheduler.replay(ledger.history, ledger.trials):
        ledger.add("ended", trial_id, state="asha", reason="")
    slots, shortage = nodes.slots(share, settings.max_concurrent), run.shortage
    searcher = StudySearch(run, study, rungs, lambda: 0 if shortage.rest else shortage.slots(slots()))
    progress = SearchProgress(
        trials=plan.trials, slots=share.slots, metric=run.task.primary, budget=budget, levels=levels(epochs)
    )
    callback = SearchCallback(run, tracker, progress)
    callback.replay(ledger.history)
    ledger.history.clear()
    context = TrialContext(
        settings.task, run.data, plan.sources, share.cpus, gpus=share.gpus, fitting=run.fitting, plugins=loaded()
    )
    tuner = build_tuner(run, tune.with_parameters(Trial, shared=context), searcher, scheduler, callback)
    with interruptible(lambda number: _stop(budget)), progress:
        try:
            if not searcher.is_finished():
                tuner.fit()
        except OSError as error:
            if not run.storage.uri or error.errno is not None:  # of this host
                raise
            # Tune reads it once more when all trials have stopped.
            run.leave_storage(reason(error))
        finally:
            callback.close()
    searcher.close()


def _stop(budget: Budget) -> None:
    """Ctrl-C (or SIGTERM) once: stop after the running epochs. Twice: stop at once."""
    if budget.interrupted:
        raise KeyboardInterrupt
    budget.interrupt()
    say("stopping after the epochs that are running; again to stop at once")
