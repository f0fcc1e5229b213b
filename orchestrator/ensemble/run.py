"""One ensemble, from the leaderboard to the registry: its story from top to bottom."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from typing import Any

import numpy as np
from mlflow.exceptions import MlflowException

from orchestrator.cluster.compatibility import joined
from orchestrator.cluster.session import ray_session
from orchestrator.common.console import say
from orchestrator.common.errors import UserError
from orchestrator.common.logs import quiet
from orchestrator.common.signals import interruptible
from orchestrator.config import loading
from orchestrator.config.cli import given_or_made, make_settings
from orchestrator.config.ensemble import EnsembleSettings
from orchestrator.config.search import SearchSettings
from orchestrator.ensemble import lesion_shape, plan, terminal
from orchestrator.ensemble.boosting_rounds import Boosting, boost
from orchestrator.ensemble.by_source import source_rows
from orchestrator.ensemble.candidates import Candidate, newest_search, search_settings
from orchestrator.ensemble.combiners.fits import Fits
from orchestrator.ensemble.deadline import NO_TIME, Deadline
from orchestrator.ensemble.delivery import deliver
from orchestrator.ensemble.finalists import Finalists
from orchestrator.ensemble.fold_race import entrants, race
from orchestrator.ensemble.held_out import OutOfFoldPredictions
from orchestrator.ensemble.member import Segmenter
from orchestrator.ensemble.member_predictions import held_out
from orchestrator.ensemble.members import MemberTrainer
from orchestrator.ensemble.promotion import times_scored
from orchestrator.ensemble.result import Compared, EnsembleResult, ScoredData
from orchestrator.ensemble.selection import choose, compare
from orchestrator.ensemble.tasks import TaskPool
from orchestrator.storage.atomic import write_text
from orchestrator.storage.mirror import mirrored, pull
from orchestrator.storage.storage import Storage
from orchestrator.tracking import datasets, description
from orchestrator.tracking.client import open_store
from orchestrator.tracking.orphans import marks
from orchestrator.tracking.sqlite import check_sqlite
from orchestrator.tracking.tracker import Tracker
from orchestrator.tuning.moved import relocated
from trainables.data import Prepared
from trainables.data.splits import BY_SOURCE
from trainables.plugins import digests
from trainables.tasks import make_task


def run_ensemble(settings: EnsembleSettings | None = None, **fields: Any) -> EnsembleResult:
    """Build the ensemble of a search's data; returns what `runs/NAME/ensemble.json` holds, too.

    Args:
        settings: its settings; or give them by name, as in `run_ensemble(task="cls", top_k=3)`.

    Raises:
        UserError: a setting is wrong, or there is nothing to build from; one line says what to do.
    """
    started = time.monotonic()
    settings = given_or_made(settings, fields, partial(make_settings, EnsembleSettings))
    if settings.export and settings.export.exists():
        raise UserError(f"--export: {settings.export} exists already; choose a new folder")
    storage = Storage.of(settings.storage)
    if storage.uri:
        pull(storage)
    name = settings.name or newest_search(settings.home, settings.task)
    search = search_settings(settings.home, name)
    if search.task != settings.task:
        raise UserError(f"--name {name}: that is a search of task {search.task}; give --task {search.task}")
    settings = settings.model_copy(update={"tracking_uri": settings.tracking_uri or search.tracking_uri})
    search.files.sweep()
    check_sqlite(settings.tracking_uri, create=False)  # before a tracker, who would make it
    data, _ = loading.read(search)
    with (
        quiet(search.files.ensemble_log),
        ray_session(settings.address),
        joined(settings.address, storage, search.cpus_per_trial, search.fixed_gpus, search.weights_folder),
        mirrored(storage, search.folder, held=False),
    ):
        deadline = None if settings.time_budget is None else started + settings.time_budget
        return build(settings, search, data, deadline=deadline)


def build(
    settings: EnsembleSettings, search: SearchSettings, data: Prepared, *, deadline: float | None = None
) -> EnsembleResult:
    """The same, within a Ray session, with a search's data at hand.

    Args:
        deadline: when all must be done, in seconds of `time.monotonic()`; None for no limit. The best that can be
            defended then is registered, and says what it lacks.

    Raises:
        UserError: there is nothing to build from.
    """
    started, ending = time.monotonic(), Deadline(deadline)

    # Before the lock is held, by which the dead runs of an ensemble that was killed are told from living ones.
    tracker = Tracker(settings.tracking_uri, search.experiment, describe=description.update)
    with (
        closing(tracker),
        plan.alone(search.files.ensemble_lock, search.name),
        interruptible(ending.interrupt),
        TaskPool(plan.share(search), search.files.predictions, Storage.of(settings.storage)) as workers,
    ):
        task = make_task(search.task, search.classes)
        team = MemberTrainer(task, search, data, workers, settings.tta, settings.out_of_fold, ending)
        team.prepared[search.image_size, search.masks] = data
        folds = plan.compared_folds(task, data, search, every=settings.all_folds) if settings.out_of_fold else []
        plan.check_truth(task, data, folds or [0])
        top_k, rounds = settings.limits(not search.data)
        candidates, median = plan.candidates(settings, search, data, team, top_k)
        if data.synthetic:
            say("SYNTHETIC data: figures and models say nothing about patients")
        for line in terminal.heading(candidates, search, data, folds):
            say(line)
        identity = plan.identity(settings, search, data, candidates, rounds)
        if done := _done(settings, search, identity):
            say("          built already, of these very candidates: nothing is trained or fitted again")
            write_text(search.files.ensemble_report, done.to_json())  # others may have looked at the test images since
            terminal.show(done, search, settings)
            return done
        if folds and not settings.all_folds:
            candidates = entrants(team, candidates, settings.seed)
        scale = plan.scale(task, data, len(folds), workers.slots)
        say(plan.expectation(settings, team, candidates, folds, scale, rounds, median))
        status, figures, shown = "FAILED", dict[str, float](), dict[str, str]()
        try:
            run_id = _open_run(tracker, settings, search, data, identity, candidates)
            racing, members = race(
                team, candidates, folds, scale, tracker, drop=not settings.all_folds, seed=settings.seed
            )
            held = held_out(task, members, len(members), team.workers, tta=settings.tta)
            boosting = Boosting(
                rounds=0 if held.optimistic else rounds,
                epochs=settings.boost_epochs,
                seed=settings.seed,
                folder=search.files.boost,
                median_seconds=median,
            )
            fits = Fits(held, settings.seed)
            everyone, fits, boosted = boost(team, members, racing, fits, boosting, tracker)
            if boosted and boosted[-1].note.endswith(NO_TIME):
                ending.lack(f"boost round {boosted[-1].round}")
            trained = time.monotonic()
            held, segmenter = _with_shape(team, fits, data, settings)
            fits = Fits(held, settings.seed, earlier=fits)
            say("combiners are fitted and compared")
            rows = terminal.with_reasons(compare(search.task, fits), boosted, optimistic=held.optimistic)
            winner, why = choose(rows, held.optimistic)
            terminal.comparison(rows, winner, search.task, held)
            say(f"winner    {winner}: {why}")
            of_source = dict(zip(data.image_digests, data.sources, strict=True))
            sources = source_rows(search.task, winner, fits, of_source, by_fold=search.folds == BY_SOURCE)
            terminal.by_source(sources, search.task)
            by_name = {row.name: row for row in rows}
            finalists = Finalists(by_name[winner], by_name["best"], everyone, held.candidates, segmenter)
            delivered = deliver(team, finalists, held, settings, run_id)
            compared = () if held.optimistic else tuple(np.unique(held.folds[held.compared]).tolist())
            found = EnsembleResult(
                task=search.task,
                classes=search.classes,
                name=search.name,
                identity=identity,
                settings=settings.model_dump(mode="json"),
                data=ScoredData(fingerprint=data.data_fingerprint, source=search.source, synthetic=data.synthetic),
                out_of_fold=not held.optimistic,
                compared=Compared(images=int(held.compared.sum()), optimistic=held.optimistic, folds=compared),
                candidates=tuple(one.reported() for one in racing),
                combiners=tuple(row.reported(held.names) for row in rows),
                boost_rounds=tuple(boosted),
                sources=sources,
                winner=winner,
                why=why,
                **delivered._asdict(),
                seconds=round(time.monotonic() - started, 1),
                lacks=tuple(ending.lacks),
            )
            write_text(search.files.ensemble_report, found.to_json())
            tracker.log_picture("", search.files.ensemble_report, "ensemble")
            status, figures, shown = "FINISHED", terminal.figures(found), terminal.tags(found)
        except KeyboardInterrupt:
            status = "KILLED"
            say(f"interrupted; the same command goes on: {terminal.command(settings, search)}")
            raise
        finally:
            tracker.end_search(status, figures, shown)
            if not tracker.close():
                say("MLflow lacks the last notes of this ensemble; the same command writes them")
        terminal.show(found, search, settings)
        if late := ending.late(trained):
            say(f"late      {late}")
        return found


def _done(settings: EnsembleSettings, search: SearchSettings, identity: str) -> EnsembleResult | None:
    """What the same command left, where nothing of it is missing."""
    if settings.export:
        return None
    try:
        found = EnsembleResult.read(search.files.ensemble_report)
        before = relocated(found.settings, search.home)
        asked = {**settings.model_dump(mode="json"), "time_budget": before.get("time_budget")}
        if found.lacks or found.identity != identity or before != asked:
            return None
        client = open_store(settings.tracking_uri, create=False)
        client.get_model_version(*found.model_uri.removeprefix("models:/").rsplit("/", 1))
        times = times_scored(client, found.data.fingerprint)
    except (OSError, ValueError, MlflowException):
        return None
    return found.model_copy(update={"test": found.test.model_copy(update={"times_scored": times})})


def _open_run(
    tracker: Tracker,
    settings: EnsembleSettings,
    search: SearchSettings,
    data: Prepared,
    identity: str,
    candidates: Sequence[Candidate],
) -> str:
    tags = {
        "task": search.task,
        "classes": str(search.classes),
        "data_fingerprint": data.data_fingerprint,
        "data_source": search.source,
        "synthetic": str(data.synthetic).lower(),
        **{f"plugin.{name}": sha256 for name, sha256 in digests().items()},
        **marks(search.files.ensemble_lock),
    }
    params = settings.model_dump(mode="json") | {"candidates": [one.name for one in candidates]}
    told = datasets.dataset(data, search.source)
    return tracker.start_search(f"ensemble of {search.name}", params, tags, identity, kind="ensemble", data=told)


def _with_shape(
    team: MemberTrainer, fits: Fits, data: Prepared, settings: EnsembleSettings
) -> tuple[OutOfFoldPredictions, Segmenter | None]:
    """With lesion shape where a task with classes can have it: from its own masks, or from a segmentation ensemble."""
    held = fits.held_out
    if team.task.name == "multi" and not held.optimistic:
        return lesion_shape.with_own(fits, data), None
    if team.task.name != "cls" or held.optimistic:
        return held, None
    segmenter = lesion_shape.find(settings.home, team, np.unique(held.folds).tolist())
    if segmenter is None:
        return held, None
    try:
        held = lesion_shape.with_segmenter(held, segmenter, team)
    except UserError as error:
        say(f"shape     left out: {error}")
        return held, None
    say(f"shape     lesion shape from masks of {segmenter.member.name}")
    return held, segmenter
