"""What a search cost: by architecture, and how its time went."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import median

from orchestrator.common.console import format_seconds
from orchestrator.rendering.charts import FULL, canvas, chart, styled
from orchestrator.rendering.document import Chart, Table
from orchestrator.rendering.numbers import count, counted, number, percent
from orchestrator.report.search.history import MARKS
from orchestrator.report.search.trials import METRICS, OUTCOMES, TrialOutcome, shown
from orchestrator.tuning.summary import Cost, SearchSummary, Spent, spent

#: Architectures drawn.
MOST = 24


def budget(trials: Sequence[TrialOutcome], primary: str) -> Table:
    """Trials, how they ended, epochs, time and best value by architecture; what took longest first."""
    cost = spent(trial.record for trial in trials)
    by_name = {name: [one for one in trials if one.architecture == name] for name in _longest_first(cost)}
    outcomes = [outcome for outcome in OUTCOMES if any(trial.outcome == outcome for trial in trials)]
    gpus = cost.gpu_hours > 0
    unit, seconds = _unit(cost.seconds)
    rows = [_row(name, there, outcomes, cost.by_architecture[name], seconds, gpus) for name, there in by_name.items()]
    rows.append(_row("all", trials, outcomes, cost, seconds, gpus))
    return Table(
        f"What was spent, by architecture: {unit} that trials held a slot{' and GPU-hours' * gpus}, and the best "
        f"validation {METRICS.get(primary, primary)}. n = {counted(len(trials), 'trial')}.",
        (
            *("architecture", "trials"),
            *(OUTCOMES[outcome] for outcome in outcomes),
            *("epochs", unit),
            *["GPU-hours"] * gpus,
            "best",
        ),
        rows,
        total=True,
    )


@styled
def budget_chart(name: str, trials: Sequence[TrialOutcome]) -> Chart:
    """Time by architecture, and of trials that ended how."""
    cost = spent(trial.record for trial in trials)
    names = _longest_first(cost)[:MOST]
    unit, seconds = _unit(cost.seconds)
    figure, (axes,) = canvas(FULL, 0.9 + 0.3 * len(names))
    for row, architecture in enumerate(names):
        left = 0.0
        for outcome, (colour, _) in MARKS.items():
            there = [one for one in trials if one.architecture == architecture and one.outcome == outcome]
            width = sum(one.record.seconds for one in there) / seconds
            axes.barh(row, width, left=left, color=colour, height=0.62, edgecolor="white", linewidth=0.6)
            left += width
        share = percent(cost.by_architecture[architecture].seconds, cost.seconds)
        axes.annotate(f"{number(left, 1)}  ({share})", (left, row), (6, 0), textcoords="offset points", va="center")
    for outcome, (colour, _) in MARKS.items():
        if any(one.outcome == outcome for one in trials):
            axes.barh([0], [0], color=colour, label=OUTCOMES[outcome])
    axes.set_yticks(range(len(names)), [shown(one) for one in names])
    longest = max(total.seconds for total in cost.by_architecture.values()) / seconds
    axes.set(xlabel=f"{unit} in a slot", xlim=(0, 1.15 * longest or 1))
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    figure.legend(loc="outside upper left", ncols=6, handlelength=1)
    rest = len(cost.by_architecture) - len(names)
    return chart(
        name,
        figure,
        f"Time that trials held a slot, by architecture and how they ended. n = {counted(len(trials), 'trial')}"
        + (f"; {counted(rest, 'architecture')} with less time not drawn." if rest else "."),
    )


def time_spent(trials: Sequence[TrialOutcome], summary: SearchSummary | None) -> Table:
    """How the time of all launches went; without a summary the search has not ended."""
    epochs = sum(trial.record.epoch for trial in trials)
    planned = sum(int(trial.record.config.get("epochs", trial.record.epoch)) for trial in trials)
    left = [trial.record.epoch for trial in trials if trial.outcome == "asha"]
    after = f", after a median of {median(left):g} epochs" if left else ""
    rows = [
        ("trials started", count(len(trials))),
        ("left at a rung", f"{len(left):,} ({percent(len(left), len(trials))}){after}"),
        ("epochs trained", f"{epochs:,} of {planned:,} if all had gone to their end ({percent(epochs, planned)})"),
        ("time in slots", format_seconds(sum(trial.record.seconds for trial in trials))),
    ]
    if summary:
        launches = f"{summary.launches} launch{'es' * (summary.launches != 1)}"
        rows.append(("time of the search", f"{format_seconds(summary.wall_seconds)}, {launches}"))
        rows.append(("trials at a time", str(summary.slots)))
        if summary.efficiency is not None:
            rows.append(("share of it spent training", percent(summary.efficiency, 1)))
        rows.append(("ended because", shown(summary.why)))
    return Table(
        "How the time went. A slot is a share of the devices that trains one trial at a time.",
        ("", "this search"),
        rows,
        texts=2,
    )


def _row(
    name: str,
    trials: Sequence[TrialOutcome],
    outcomes: Sequence[str],
    cost: Cost,
    seconds: float,
    gpus: bool,
) -> list[str | int]:
    ended = Counter(trial.outcome for trial in trials)
    best = max((trial.value for trial in trials if trial.value is not None), default=float("nan"))
    return [
        *(shown(name), len(trials)),
        *(ended[outcome] for outcome in outcomes),
        *(sum(trial.record.epoch for trial in trials), number(cost.seconds / seconds, 1)),
        *[number(cost.gpu_hours, 2)] * gpus,
        number(best, 4),
    ]


def _longest_first(cost: Spent) -> list[str]:
    return sorted(cost.by_architecture, key=lambda name: (-cost.by_architecture[name].seconds, name))


def _unit(seconds: float) -> tuple[str, float]:
    """Hours, or minutes where hours would be fractions; and the seconds in one."""
    return ("hours", 3600.0) if seconds >= 4 * 3600 else ("minutes", 60.0)
