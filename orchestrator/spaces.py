"""What a search tries: architectures and encoders that have weights here and fit the time, and its first points."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from orchestrator.cli import UserError
from orchestrator.progress import format_seconds
from orchestrator.resources import Resources
from orchestrator.settings import SearchSettings
from search_spaces import seg
from trainables.data import Prepared
from trainables.models.weights import Source, find
from trainables.training import Training

BATCH_SIZES = (8, 16, 32)


@dataclass(frozen=True)
class Plan:
    """What to search.

    Attributes:
        space: Optuna trial -> complete configuration.
        first_points: parameters of the first trials.
        sources: where each encoder's weights come from.
        trials: number of trials.
        notes: what a user should know, a line each.
    """

    space: Callable[[Any], dict[str, Any]]
    first_points: list[dict[str, Any]]
    sources: dict[str, Source]
    trials: int
    notes: tuple[str, ...]


def make_plan(settings: SearchSettings, data: Prepared, resources: Resources) -> Plan:
    """Choose what to search on this machine, with this data, in this time.

    Raises:
        UserError: nothing is left to search.
    """
    notes: list[str] = []
    asked = settings.arch or tuple(seg.ARCHITECTURES)
    sources = _sources(settings, asked, notes)
    encoders = {name: tuple(e for e in seg.ARCHITECTURES[name].encoders if e in sources) for name in asked}
    for name in asked:
        if settings.arch and seg.ARCHITECTURES[name].encoders and not encoders[name]:
            allowed = ", ".join(seg.ARCHITECTURES[name].encoders)
            raise UserError(
                f"--arch {name} has none of the encoders {', '.join(settings.encoder)}; choose from {allowed}"
            )
    if settings.time_budget is not None and not torch.cuda.is_available():
        encoders = _within_time(settings, data, encoders, sources, resources, notes)
    else:
        encoders = {name: found or ("",) * (not seg.ARCHITECTURES[name].encoders) for name, found in encoders.items()}
    architectures = tuple(name for name, found in encoders.items() if found)
    if not architectures:
        raise UserError("nothing to search: " + "; ".join(notes))
    used = {encoder for found in encoders.values() for encoder in found if encoder}
    batch_sizes = (settings.batch_size,) if settings.batch_size else BATCH_SIZES
    if settings.trials_per_arch:
        first = [{"architecture": name} for _ in range(settings.trials_per_arch) for name in architectures]
        trials = len(first)
    else:
        trials = settings.trials
        first = seg.first_points(architectures, encoders, trials, batch_sizes)
    space = partial(
        _configuration,
        suggest=partial(
            seg.suggest, architectures=architectures, encoders=encoders, batch_sizes=batch_sizes, epochs=settings.epochs
        ),
        constants={"epochs": settings.epochs, "image_size": settings.image_size, "seed": settings.seed},
    )
    return Plan(space, first, {name: sources[name] for name in sorted(used)}, trials, tuple(notes))


def _configuration(
    trial: Any, *, suggest: Callable[[Any], dict[str, Any]], constants: dict[str, Any]
) -> dict[str, Any]:
    return {**suggest(trial), **constants}


def _sources(settings: SearchSettings, architectures: tuple[str, ...], notes: list[str]) -> dict[str, Source]:
    """Where each encoder's weights come from. Without `--encoder`, those that would start at random are left out."""
    offered = dict.fromkeys(encoder for name in architectures for encoder in seg.ARCHITECTURES[name].encoders)
    names = [encoder for encoder in offered if not settings.encoder or encoder in settings.encoder]
    try:
        sources = {name: find(name, settings.weights) for name in names}
    except ValueError as error:
        raise UserError(str(error)) from None
    pretrained = {name: source for name, source in sources.items() if source.kind != "random"}
    missing = [name for name in sources if name not in pretrained]
    if pretrained:
        notes.append("weights: " + ", ".join(f"{name} ({source.kind})" for name, source in pretrained.items()))
    if not missing or settings.weights == "none":
        return sources
    if pretrained and not settings.encoder:
        notes.append(
            f"left out, no pretrained weights here: {', '.join(missing)} (--encoder NAME tries one from random)"
        )
        return pretrained
    notes.append(f"from random weights, none found here: {', '.join(missing)}")
    return sources


def _within_time(
    settings: SearchSettings,
    data: Prepared,
    encoders: dict[str, tuple[str, ...]],
    sources: dict[str, Source],
    resources: Resources,
    notes: list[str],
) -> dict[str, tuple[str, ...]]:
    """Leave out what could not finish one trial in half of the time budget, by costs scaled to this machine."""
    assert settings.time_budget is not None
    costs = {
        (name, encoder): seg.seconds_per_image(name, encoder, settings.image_size)
        for name, found in encoders.items()
        for encoder in found or ("",) * (not seg.ARCHITECTURES[name].encoders)
    }
    images = len(data.fold_rows(0)[0]) * settings.epochs
    reference = min(costs, key=lambda pair: costs[pair])
    seconds = _measure(reference, settings, data, sources, resources.cpus)
    needed = {pair: cost * images * seconds / costs[reference] for pair, cost in costs.items()}
    fitting = {pair for pair in costs if needed[pair] <= settings.time_budget / 2} or {reference}
    left_out = [pair for pair in costs if pair not in fitting]
    if left_out:
        names = ", ".join(f"{' '.join(pair).strip()} ({format_seconds(needed[pair])})" for pair in left_out)
        notes.append(f"not run, a whole trial needs more than half of {format_seconds(settings.time_budget)}: {names}")
    return {name: tuple(e for n, e in costs if n == name and (n, e) in fitting) for name in encoders}


def _measure(
    pair: tuple[str, str], settings: SearchSettings, data: Prepared, sources: dict[str, Source], threads: int
) -> float:
    """Seconds that this machine takes to train on one image."""
    name, encoder = pair
    config = {
        **seg.HOUSE,
        **{"architecture": name, "encoder": encoder, "dropout": 0.0, "batch_size": 8, "warmup_epochs": 0},
        **{"epochs": 1, "seed": 0, "image_size": settings.image_size},
    }
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        training = Training(settings.task, config, data, sources.get(encoder))
        training.training_masks = training.training_masks[:16]
        training.train_epoch()  # the first pass pays for allocation and primitives
        started = time.perf_counter()
        training.train_epoch()
        return (time.perf_counter() - started) / len(training.training_masks)
    finally:
        torch.set_num_threads(before)
