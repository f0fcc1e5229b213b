"""`--dry-run`: what a search would read and try, and how long it would take; nothing is kept."""

from __future__ import annotations

import statistics
import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from orchestrator.cluster.resources import TrialResources
from orchestrator.cluster.session import ray_session
from orchestrator.common.console import format_seconds, say
from orchestrator.common.errors import UserError
from orchestrator.common.logs import quiet
from orchestrator.config import loading
from orchestrator.config.search import SearchSettings
from orchestrator.tuning import terminal
from orchestrator.tuning.launch import plan_launch
from orchestrator.tuning.plan import Plan
from orchestrator.tuning.reserve import Forecast
from orchestrator.tuning.rungs import levels
from orchestrator.tuning.scheduler import mean_epochs
from orchestrator.tuning.trial_cost import trial_seconds, usual
from trainables.data import Prepared
from trainables.tasks import make_task


def rehearse(settings: SearchSettings, forecast: Callable[[SearchSettings, Prepared], Forecast]) -> None:
    """Read and check the data, plan the search, and say both; prepared data go to a folder that is deleted.

    Args:
        forecast: of the ensemble that follows.

    Raises:
        UserError: what would stop the search.
    """
    with tempfile.TemporaryDirectory(prefix="dry-run-") as scratch:
        inside = settings.model_copy(update={"storage": Path(scratch)})
        if settings.folder.exists():
            raise UserError(f"--name {settings.name}: {settings.folder} exists already; choose another name")
        data = loading.load(inside)
        make_task(settings.task, settings.classes).rows(data)
        with quiet(Path(scratch, "log.txt")), ray_session(settings.address, settings.dashboard):
            follows = forecast(settings, data)
            plan, share = plan_launch(inside, data, None)
            terminal.announce(settings, plan, share)
            say(f"try     {_tried(plan)}")
            say(f"time    {_time(settings, data, plan, share, follows)}")
    say("dry run: nothing was kept")


def _tried(plan: Plan) -> str:
    """Recipes or architectures, those together that have the same encoders."""
    encoders = defaultdict[str, list[str]](list)
    for choice in plan.choices:
        own = choice.recipe or choice.architecture
        encoders[own] += [] if choice.recipe or choice.encoder in ("", own) else [choice.encoder]
    alike = defaultdict[tuple[str, ...], list[str]](list)
    for name, found in encoders.items():
        alike[tuple(found)].append(name)
    each = [f"{', '.join(names)}" + (f" with {' or '.join(with_)}" if with_ else "") for with_, names in alike.items()]
    return "; ".join(each)


def _time(settings: SearchSettings, data: Prepared, plan: Plan, share: TrialResources, forecast: Forecast) -> str:
    """About how long it takes, from recorded costs scaled to this machine."""
    if share.gpus:
        return "not estimated where trials use GPUs"
    seconds = trial_seconds(settings, data, plan.choices, plan.sources, share.cpus)
    each = statistics.mean(seconds.values())
    whole = plan.trials * each / share.slots
    most = min(whole, settings.time_budget or whole)
    words = f"a whole trial {format_seconds(min(seconds.values()))} to {format_seconds(max(seconds.values()))}; "
    if settings.recipes_only:
        words += f"all of them about {format_seconds(most)}"
    else:
        stopped = whole * mean_epochs(levels(settings.epochs), settings.epochs, plan.trials) / settings.epochs
        words += f"the search about {format_seconds(min(stopped, most))}, at most {format_seconds(most)}"
    if forecast.candidates:
        trainings = [usual(seconds)] * min(forecast.candidates, plan.trials)
        words += f"; then the ensemble about {format_seconds(forecast.seconds(trainings, share.slots))}"
    return words
