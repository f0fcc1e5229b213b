"""What a search tries: architectures and encoders that have weights here and fit the time, and its first points."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import partial
from typing import Any

import torch

from orchestrator.cluster.resources import TrialResources
from orchestrator.common.console import format_seconds
from orchestrator.common.errors import UserError
from orchestrator.config.search import SearchSettings
from orchestrator.tuning import trial_cost
from orchestrator.tuning.identity import Identity
from orchestrator.tuning.trial_cost import Choice
from search_spaces import SPACES, Config, Parameters, recipes
from trainables import plugins
from trainables.data import Prepared
from trainables.device_batches import lives_on
from trainables.models.cls import check_encoder
from trainables.models.weights import Source, find
from trainables.pretraining import overlaps

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
        choices: what a trial can be: architecture, encoder, epochs and recipe of each.
        augmented_on: see `Identity`.
        usual: epochs of the median choice and seconds of one, where there is a time budget to plan and no GPU.
    """

    space: Callable[[Any], Config]
    first_points: list[Parameters]
    sources: dict[str, Source]
    trials: int
    notes: tuple[str, ...]
    choices: tuple[Choice, ...] = ()
    augmented_on: str = "cpu"
    usual: tuple[int, float] | None = None

    def identity(self, settings: SearchSettings, data: Prepared, search_id: str = "") -> Identity:
        """What `make_plan` needs to make the same plan for a resumed search, and what that must agree with."""
        return Identity(
            settings.task,
            settings.classes,
            data.data_fingerprint,
            data.prepared_fingerprint,
            choices=[astuple(choice) for choice in self.choices],
            first_points=self.first_points,
            weights={name: source.words for name, source in self.sources.items()},
            id=search_id,
            augmented_on=self.augmented_on,
            plugins=plugins.digests(),
        )

    def weights_source(self, encoder: str) -> str:
        """What weights an encoder starts from: `Source.words`."""
        return self.sources[encoder].words if encoder in self.sources else "random"


def make_plan(
    settings: SearchSettings, data: Prepared, resources: TrialResources, identity: Identity | None = None
) -> Plan:
    """Choose what to search on this machine, with this data, in this time.

    Args:
        identity: of a search to go on with, which chose before.

    Raises:
        UserError: nothing is left to search.
    """
    notes: list[str] = []
    usual: tuple[int, float] | None = None
    if identity:
        choices = [Choice(*values) for values in identity.choices]
        sources = _found(settings, choices)
    else:
        choices = _recipes(settings) if settings.recipes_only else _architectures(settings)
        if settings.task == "cls":
            _check_sizes(choices, settings.image_size)
        sources = _sources(settings, choices, notes)
        choices = [choice for choice in choices if not choice.encoder or choice.encoder in sources]
        if settings.time_budget is not None and not resources.gpus:
            choices, usual = _within_time(settings, data, choices, sources, resources, notes)
    constants = {"image_size": settings.image_size, "seed": settings.seed, "classes": settings.classes}
    if settings.recipes_only:
        suggest: Any = partial(
            recipes.suggest, recipes=tuple(choice.recipe for choice in choices), epochs=settings.epochs
        )
        first = [{"recipe": choice.recipe} for choice in choices]
        trials = len(first)
    else:
        constants["epochs"] = settings.epochs
        suggest, first, trials = _sampled(settings, choices)
        if identity and not settings.trials_per_arch:
            first = identity.first_points  # their number follows from that of the trials, which may be raised
    used = {choice.encoder for choice in choices if choice.encoder}
    if not data.synthetic:
        notes += overlaps([sources[name].words for name in used], data.files)
    return Plan(
        partial(_configuration, suggest=suggest, constants=constants),
        first,
        {name: sources[name] for name in sorted(used)},
        trials,
        tuple(notes),
        tuple(choices),
        "gpu" if resources.gpus and lives_on(torch.device("cuda"), data) else "cpu",
        usual,
    )


def most_trials(settings: SearchSettings) -> int:
    """How many trials there will be at most; what does not fit the time is left out later."""
    if settings.recipes_only:
        return max(1, len(recipes.names(settings.task)))
    if settings.trials_per_arch:
        return settings.trials_per_arch * len(settings.arch or SPACES[settings.task].ARCHITECTURES)
    return settings.trials


def _configuration(trial: Any, *, suggest: Callable[[Any], Config], constants: Config) -> Config:
    return {**suggest(trial), **constants}


def _recipes(settings: SearchSettings) -> list[Choice]:
    found = [recipes.RECIPES[name] for name in recipes.names(settings.task)]
    if not found:
        raise UserError(
            f"--recipes-only: no recipe for --task {settings.task}; the notebooks have them for seg and cls"
        )
    return [
        Choice(recipe.config["architecture"], recipe.config["encoder"], settings.epochs or recipe.epochs, recipe.name)
        for recipe in found
    ]


def _architectures(settings: SearchSettings) -> list[Choice]:
    space = SPACES[settings.task]
    choices = []
    for name in settings.arch or space.ARCHITECTURES:
        entry = space.architecture(name)
        encoders = [e for e in entry.encoders if not settings.encoder or e in settings.encoder]
        if entry.encoders and not encoders and settings.arch:
            allowed = ", ".join(entry.encoders)
            raise UserError(
                f"--arch {name} has none of the encoders {', '.join(settings.encoder)}; choose from {allowed}"
            )
        choices += [Choice(name, encoder, settings.epochs) for encoder in encoders or [""] * (not entry.encoders)]
    return choices


def _check_sizes(choices: list[Choice], image_size: int) -> None:
    """A backbone that timm does not know, or that cannot take images of this size, is refused before it fails."""
    try:
        for encoder in dict.fromkeys(choice.encoder for choice in choices):
            check_encoder(encoder, image_size)
    except ValueError as error:
        raise UserError(str(error)) from None


def _sampled(settings: SearchSettings, choices: list[Choice]) -> tuple[Callable[[Any], Config], list[Parameters], int]:
    """The task's own space over these choices, its first points, and the number of trials."""
    space = SPACES[settings.task]
    architectures = tuple(dict.fromkeys(choice.architecture for choice in choices))
    encoders = {
        name: tuple(c.encoder for c in choices if c.architecture == name and c.encoder) for name in architectures
    }
    batch_sizes = (settings.batch_size,) if settings.batch_size else BATCH_SIZES
    suggest = partial(
        space.suggest, architectures=architectures, encoders=encoders, batch_sizes=batch_sizes, epochs=settings.epochs
    )
    if settings.trials_per_arch:
        first = [{"architecture": name} for _ in range(settings.trials_per_arch) for name in architectures]
        return suggest, first, len(first)
    if settings.warm_start:  # what the earlier search began with, the study knows
        return suggest, [], settings.trials
    first = space.first_points(architectures, encoders, settings.trials, batch_sizes)
    cheapest: dict[str, float] = {}
    for choice in choices:
        cost = space.seconds_per_image(choice.architecture, choice.encoder, settings.image_size)
        cheapest[choice.architecture] = min(cost, cheapest.get(choice.architecture, cost))
    return suggest, each_once(first, cheapest, settings.trials), settings.trials


def each_once(first: Sequence[Parameters], costs: Mapping[str, float], trials: int) -> list[Parameters]:
    """First points, and one for each architecture that has none yet, cheapest first.

    Left to the sampler, an architecture may never be tried. But first points are at most half of the trials, and cost
    at most what a third of the trials would if each were like the first point: what costs more is left to the sampler.

    Args:
        first: the task's own first points.
        costs: of an epoch, by architecture.
        trials: of the search.
    """
    tried = {point["architecture"] for point in first}
    others = sorted((name for name in costs if name not in tried), key=costs.__getitem__)
    points: list[Parameters] = []
    left = 0.0
    for point in [*first, *({"architecture": name} for name in others)]:
        cost = costs[point["architecture"]]
        if not points:
            left = trials / 3 * cost
        elif len(points) >= trials // 2 or cost > left:
            continue
        points.append(point)
        left -= cost
    return points


def _sources(settings: SearchSettings, choices: list[Choice], notes: list[str]) -> dict[str, Source]:
    """Where each encoder's weights come from. Those that would start at random are left out, unless they were named."""
    sources = _found(settings, choices)
    pretrained = {name: source for name, source in sources.items() if source.kind != "random"}
    missing = [name for name in sources if name not in pretrained]
    if pretrained:
        notes.append("weights: " + ", ".join(f"{name} ({source.words})" for name, source in pretrained.items()))
    if not missing or settings.weights == "none":
        return sources
    flag, named = ("--arch", settings.arch) if settings.task == "cls" else ("--encoder", settings.encoder)
    if pretrained and not named and not settings.recipes_only:
        notes.append(f"left out, no pretrained weights here: {', '.join(missing)} ({flag} NAME tries one from random)")
        return pretrained
    notes.append(f"from random weights, none found here: {', '.join(missing)}")
    return sources


def _found(settings: SearchSettings, choices: list[Choice]) -> dict[str, Source]:
    try:
        return {name: find(name, settings.weights) for name in dict.fromkeys(c.encoder for c in choices) if name}
    except ValueError as error:
        raise UserError(str(error)) from None


def _within_time(
    settings: SearchSettings,
    data: Prepared,
    choices: list[Choice],
    sources: dict[str, Source],
    resources: TrialResources,
    notes: list[str],
) -> tuple[list[Choice], tuple[int, float]]:
    """What could finish one trial in half of the time budget, by costs scaled to this machine; and `Plan.usual`."""
    assert settings.time_budget is not None
    needed = trial_cost.trial_seconds(settings, data, choices, sources, resources.cpus)
    fitting = [c for c in choices if needed[c] <= settings.time_budget / 2] or [min(choices, key=lambda c: needed[c])]
    left_out = [f"{choice} ({format_seconds(needed[choice])})" for choice in choices if choice not in fitting]
    if left_out:
        budget = format_seconds(settings.time_budget)
        notes.append(f"not run, a whole trial needs more than half of {budget}: {', '.join(left_out)}")
    return fitting, trial_cost.usual({choice: needed[choice] for choice in fitting})
