"""Trials across searches, ranked by the best value of the task's primary metric, never across data fingerprints."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from mlflow import MlflowClient
from mlflow.entities import Experiment, Run, ViewType

from orchestrator.common.console import complain
from orchestrator.common.errors import first_line
from orchestrator.config.types import BestPer, TrackingError, shown_uri
from orchestrator.scoring.metrics import PRIMARY
from orchestrator.tracking.client import open_store, quote

PAGE = 1000
#: Tags without any of which a run is no trial of ours.
_OURS = {"task", "primary", "data_fingerprint"}


@dataclass(frozen=True)
class TrialRow:
    """A trial as the store knows it: `epochs` done; `best` None without a finite value, `seconds` while it runs."""

    name: str
    search: str
    task: str
    architecture: str
    encoder: str
    primary: str
    best: float | None
    epochs: int
    seconds: float | None
    status: str
    stopped: str
    data_source: str
    data_fingerprint: str
    synthetic: bool
    run_id: str
    classes: int = 3
    trial_id: str = ""
    search_id: str = ""


@dataclass(frozen=True)
class Ranking:
    """The trials of one task, with as many classes, on one data fingerprint: best first; `unranked` has no value."""

    task: str
    data_fingerprint: str
    data_source: str
    synthetic: bool
    primary: str
    ranked: list[TrialRow]
    unranked: list[TrialRow]
    classes: int = 3


def read_trials(uri: str, experiment: str | None = None, task: str | None = None) -> list[TrialRow]:
    """Every trial in the store: of one experiment or of all, of one task or of all. Looking creates nothing.

    One whose tags do not say what it may be compared with is left out, and named on standard error.

    Raises:
        TrackingError: no store there, or no such experiment.
    """
    client = open_store(uri, create=False)
    condition = "tags.kind = 'trial'" + (f" and tags.task = {quote(task)}" if task else "")
    try:
        known = {found.name: found.experiment_id for found in experiments(client)}
        if experiment is not None and experiment not in known:
            raise TrackingError(f"no experiment {experiment}; choose from {', '.join(sorted(known))}")
        ids = [known[experiment]] if experiment is not None else list(known.values())
        runs = [run for run in runs_of(client, ids, condition) if _OURS & run.data.tags.keys()]
    except TrackingError:
        raise
    except Exception as error:  # whatever a driver or a server may raise
        raise TrackingError(f"{shown_uri(uri)} cannot be read ({first_line(error)})") from error
    rows = []
    for run in runs:
        try:
            rows.append(trial_row(run))
        except ValueError as error:
            complain(f"left out  {run.info.run_name or 'run'} ({run.info.run_id}): {error}")
    return rows


def rank(rows: Iterable[TrialRow], top: int | None = None, best_per: BestPer | None = None) -> list[Ranking]:
    """One ranking per task, number of classes and data fingerprint; a tie goes to the trial of fewer seconds.

    Args:
        rows: trials of any task and data.
        top: keep this many of each ranking, and no trial without a value.
        best_per: keep the best trial for each value of this field, and no trial without a value.
    """
    groups: dict[tuple[str, int, str], list[TrialRow]] = defaultdict(list)
    for row in rows:
        groups[row.task, row.classes, row.data_fingerprint].append(row)
    rankings = []
    for (task, classes, fingerprint), members in sorted(groups.items()):
        valued = [row for row in members if row.best is not None and math.isfinite(row.best)]
        ranked = sorted(valued, key=_order)
        if best_per:
            best = {getattr(row, best_per): row for row in reversed(ranked)}
            ranked = sorted(best.values(), key=_order)
        unranked = [] if top or best_per else [row for row in members if row not in valued]
        head = (ranked or members)[0]
        synthetic = any(row.synthetic for row in members)
        ranking = Ranking(task, fingerprint, head.data_source, synthetic, head.primary, ranked[:top], unranked, classes)
        rankings.append(ranking)
    return rankings


def _order(row: TrialRow) -> tuple[float, float, str]:
    return -(row.best or 0.0), math.inf if row.seconds is None else row.seconds, row.run_id


def best_trials(
    client: MlflowClient, experiment_id: str, task: str, classes: int, fingerprint: str, primary: str, count: int
) -> list[TrialRow]:
    """The first of `rank` of one ranking of an experiment, without reading its other trials.

    Raises:
        MlflowException, OSError: the store cannot say.
    """
    condition = (
        f"tags.kind = 'trial' and tags.task = {quote(task)} and tags.classes = '{classes}' "
        f"and tags.data_fingerprint = {quote(fingerprint)}"
    )
    rows: list[TrialRow] = []
    for run in runs_of(client, [experiment_id], condition, f"metrics.`best/{primary}` DESC", 2 * count):
        try:
            row = trial_row(run)
        except ValueError:
            continue
        if row.best is None or (len(rows) >= count and row.best < (rows[count - 1].best or 0.0)):
            break  # the rest is worse; equals are told apart by their time
        rows.append(row)
    return rank(rows, count)[0].ranked if rows else []


def experiments(client: MlflowClient, *, deleted: bool = False) -> Iterator[Experiment]:
    """All experiments of a store; with those that were deleted, if asked."""
    token, view = None, ViewType.ALL if deleted else ViewType.ACTIVE_ONLY
    while True:
        page = client.search_experiments(view_type=view, max_results=PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def runs_of(
    client: MlflowClient, ids: list[str], condition: str, order: str = "", size: int = PAGE, *, deleted: bool = False
) -> Iterator[Run]:
    """All runs of these experiments that meet a condition, in an order, asked for by so many as they are taken.

    Args:
        deleted: also those that were deleted.
    """
    token, view = None, ViewType.ALL if deleted else ViewType.ACTIVE_ONLY
    while True:
        by = [order] if order else None
        page = client.search_runs(ids, condition, view, max_results=size, order_by=by, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def compared_by(tags: Mapping[str, str]) -> tuple[str, int, str]:
    """Task, number of classes and data fingerprint of a search or a trial, by its tags.

    Raises:
        ValueError: a tag is missing, or was edited; the message names it.
    """
    tags = {"classes": "3", **tags}  # older versions had no other
    allowed = {"task": PRIMARY, "primary": {PRIMARY.get(tags.get("task", ""))}, "classes": {"2", "3"}}
    wrong = [name for name, values in allowed.items() if tags.get(name) not in values]
    if not tags.get("data_fingerprint", "").isalnum():
        wrong.append("data_fingerprint")
    if wrong:
        raise ValueError(f"its tag {wrong[0]} is {tags[wrong[0]]!r}" if wrong[0] in tags else f"no tag {wrong[0]}")
    return tags["task"], int(tags["classes"]), tags["data_fingerprint"]


def epochs(run: Run) -> int:
    """The epochs that a trial has done."""
    done = run.data.metrics.get("epoch", 0.0)
    return int(done) if math.isfinite(done) else 0


def trial_row(run: Run) -> TrialRow:
    """A trial's run as a row.

    Raises:
        ValueError: its tags do not say what it may be compared with.
    """
    info, tags = run.info, run.data.tags
    task, classes, data_fingerprint = compared_by(tags)
    best = run.data.metrics.get(f"best/{PRIMARY[task]}", math.nan)
    ended = info.start_time and info.end_time and info.status != "RUNNING"
    return TrialRow(
        name=info.run_name or info.run_id,
        search=tags.get("search", ""),
        task=task,
        architecture=tags.get("architecture", ""),
        encoder=tags.get("encoder", ""),
        primary=PRIMARY[task],
        best=best if math.isfinite(best) else None,
        epochs=epochs(run),
        seconds=(info.end_time - info.start_time) / 1000 if ended else None,
        status=info.status,
        stopped=tags.get("stopped", ""),
        data_source=tags.get("data_source", ""),
        data_fingerprint=data_fingerprint,
        synthetic=tags.get("synthetic", "").lower() == "true",
        run_id=info.run_id,
        classes=classes,
        trial_id=tags.get("trial_id", ""),
        search_id=tags.get("search_id", ""),
    )
