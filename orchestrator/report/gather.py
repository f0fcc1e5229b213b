"""What a report is made of: searches, their ensembles and stored test predictions. Nothing is predicted here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mlflow import MlflowClient

from orchestrator.common.errors import UserError
from orchestrator.config import loading
from orchestrator.config.search import SearchSettings
from orchestrator.ensemble.result import EnsembleResult
from orchestrator.inference import format as product
from orchestrator.inference.description import Description
from orchestrator.inference.format import ModelError
from orchestrator.report.find import TITLES, Entry, named, newest
from orchestrator.report.registered import RegistryStatus, reached, registered
from orchestrator.report.results.subject import ImageFiles, ModelResults, shown_images
from orchestrator.scoring.predictions import HELD_OUT, UNREADABLE, StoredPredictions
from orchestrator.scoring.verdict import Judgement
from orchestrator.tuning.summary import SearchSummary
from trainables.data import CLASSES, Manifest, Prepared
from trainables.locks import is_held
from trainables.pretraining import overlaps
from trainables.stored import DamagedError


@dataclass(frozen=True)
class ReportedSearch:
    """A search and its ensemble.

    Attributes:
        search: its settings. summary: None where the search has not ended yet.
        ensemble: of `ensemble.json`. subject: the winner and what it said of the test images.
        description: of the product; None where that cannot be read.
        registered: what the tracking store says of it. running: whether the search is at work.
        held_out_groups: of the images that combiners were compared on; None where these are not at hand.
    """

    search: SearchSettings
    summary: SearchSummary | None
    ensemble: EnsembleResult
    subject: ModelResults
    description: Description | None
    registered: RegistryStatus
    running: bool
    held_out_groups: int | None = None

    @property
    def task(self) -> str:
        """seg, cls or multi."""
        return self.search.task

    @property
    def title(self) -> str:
        """By which the page tells it from the others."""
        return self.subject.title

    @property
    def folds(self) -> int:
        """How many folds there are models of."""
        return len(self.ensemble.test.retraining.values)

    @property
    def optimistic(self) -> bool:
        """Whether its combiners were compared on the fold that chose epoch and configuration."""
        return self.ensemble.compared.optimistic


@dataclass(frozen=True)
class ReportInputs:
    """What a report shows, all of one data fingerprint.

    Attributes:
        studied: at least one, at most one of each task.
        data, manifest: the data; None where they cannot be read any more, or have changed, which `notes` then says.
        notes: what is not shown, and why; a line each.
    """

    studied: tuple[ReportedSearch, ...]
    data: Prepared | None
    manifest: Manifest | None
    notes: tuple[str, ...]

    @property
    def synthetic(self) -> bool:
        """Whether the data are phantom images."""
        return any(one.ensemble.data.synthetic for one in self.studied)

    @property
    def fingerprint(self) -> str:
        """Of the data."""
        return self.studied[0].ensemble.data.fingerprint


def gather(storage: Path, names: Sequence[str], tracking_uri: str) -> ReportInputs:
    """The newest ensemble of each task on the data of the newest of all, or those of the searches named.

    Args:
        storage: folder of the searches.
        tracking_uri: the store to ask; "" for the one that each ensemble was logged to.

    Raises:
        UserError: there is none to show, a named one cannot be shown, or those named are not of the same data.
    """
    chosen, notes = (named(storage, names), list[str]()) if names else newest(storage)
    chosen.sort(key=lambda entry: list(TITLES).index(entry.search.task))
    read = _data(chosen)
    if isinstance(read, str):
        notes.append(read)
        data, manifest, images = None, None, dict[str, ImageFiles]()
    else:
        (data, manifest), images = read, shown_images(*read)
    ask = cache(reached)  # once a store: a silent one takes long to give up
    studied = tuple(_studied(entry, tracking_uri, ask, images) for entry in chosen)
    running = [one.search.name for one in studied if one.running]
    notes += sorted(
        {f"the registry is not known today: {one.registered.silence}" for one in studied if one.registered.silence}
    )
    notes += [
        f"summary.json of {one.search.name} cannot be read" for one in studied if not one.summary and not one.running
    ]
    if data is not None and not data.synthetic:
        tested = [data.files[row] for row in data.test_rows()]
        weights = [words for one in studied if one.description for words in one.description.encoder_weights]
        notes += overlaps(weights, tested)
    notes += [f"the search {name} is still running: its part of the page is as of now" for name in running]
    return ReportInputs(studied, data, manifest, tuple(notes))


def _studied(
    entry: Entry, tracking_uri: str, ask: Callable[[str], MlflowClient | str], images: dict[str, ImageFiles]
) -> ReportedSearch:
    search, ensemble = entry.search, entry.ensemble
    classes = CLASSES[-ensemble.classes :] if search.task != "seg" else ()
    known = registered(ask(tracking_uri or ensemble.tracking_uri), ensemble)
    try:
        description = product.read(search.files.winners / ensemble.digest / "ensemble")
    except ModelError:
        description = None
    subject = ModelResults(
        search.task,
        TITLES[search.task],
        classes,
        entry.tested,
        ensemble.test,
        images,
        # Since it was built others may have looked.
        times_scored=ensemble.test.times_scored if known.times_scored is None else known.times_scored,
        networks=networks(description) if description else None,
        synthetic=ensemble.data.synthetic,
        judged=_judged(ensemble),
    )
    running, groups = is_held(search.files.lock), _held_out_groups(search.files.winners / ensemble.digest / HELD_OUT)
    return ReportedSearch(search, _summary(search), ensemble, subject, description, known, running, groups)


def _judged(ensemble: EnsembleResult) -> dict[str, Judgement]:
    found = ensemble.verdict
    if found is None:
        return {}
    return {"held-out": found.held_out} | ({"test": found.test} if found.test else {})


def _held_out_groups(file: Path) -> int | None:
    try:
        return len(set(StoredPredictions.load(file).groups.tolist()))
    except UNREADABLE:
        return None


def networks(description: Description) -> int:
    """How many networks a product holds: those of its members, and those whose masks give a stack its lesion shape."""
    parts = [part for part in (description.main, description.shape) if part]
    return len({network.file for part in parts for member in part.members for network in member.networks})


def _summary(search: SearchSettings) -> SearchSummary | None:
    try:
        return SearchSummary.read(search.files.summary)
    except (OSError, DamagedError):
        return None


def _data(chosen: Sequence[Entry]) -> tuple[Prepared, Manifest] | str:
    """The data that all of them were scored on, read once: the same fingerprint is the same files, groups and split.

    Returns:
        The data, or in words why there are none.
    """
    why = ""
    for search in {entry.search.source: entry.search for entry in chosen}.values():
        try:
            data, manifest = loading.read(search)
        except UserError as error:
            why = why or f"no pictures and no sub-groups: {error}"
            continue
        if data.data_fingerprint == chosen[0].fingerprint:
            return data, manifest
        why = f"no pictures and no sub-groups: the data in {manifest.places} have changed since they were scored"
    return why
