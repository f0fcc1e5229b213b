"""How a search went: each trial's best value, and the best so far."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from orchestrator.rendering.charts import FULL, INK, canvas, chart, styled
from orchestrator.rendering.document import Chart
from orchestrator.rendering.numbers import counted, number
from orchestrator.report.search.trials import METRICS, OUTCOMES, TrialOutcome, valued

#: Colour and mark of each outcome: apart for colour-blind eyes (Okabe and Ito), and by their shape in grey.
MARKS = {
    "completed": ("#009e73", "o"),
    "asha": ("#0072b2", "v"),
    "early": ("#56b4e9", "s"),
    "diverged": ("#d55e00", "X"),
    "failed": ("#cc79a7", "P"),
    "unfinished": ("#8a9099", "D"),
}
#: Above so many trials marks are small.
MANY = 200


def running_best(values: Sequence[float | None]) -> np.ndarray:
    """The largest value up to each trial, floating point [N]; NaN before the first that has one."""
    known = np.array([-np.inf if value is None else value for value in values], float)
    best = np.maximum.accumulate(known)
    return np.where(np.isfinite(best), best, np.nan)


@styled
def history(name: str, trials: Sequence[TrialOutcome], primary: str) -> Chart | None:
    """Best value of each trial in the order of asking. None where no trial has one.

    Args:
        name: of the chart, as for `page.chart`.
    """
    ranked = valued(trials)
    if not ranked:
        return None
    figure, (axes,) = canvas(FULL, 3.2)
    numbers = [trial.record.number for trial in trials]
    axes.step(
        numbers,
        running_best([trial.value for trial in trials]),
        where="post",
        color=INK,
        linewidth=1.2,
        label="best so far",
    )
    size = 2.5 if len(trials) > MANY else 5
    for outcome, (colour, mark) in MARKS.items():
        there = [trial for trial in trials if trial.outcome == outcome]
        look: Any = {"linestyle": "none", "marker": mark, "markersize": size, "color": colour, "markeredgewidth": 0}
        if there:
            axes.plot([], [], label=f"{OUTCOMES[outcome]} ({len(there):,})", **{**look, "markersize": 5})
        high = [(trial.record.number, trial.value) for trial in there if trial.value is not None]
        axes.plot([at for at, _ in high], [value for _, value in high], **look)
        without = [trial.record.number for trial in there if trial.value is None]
        axes.plot(without, [0.02] * len(without), transform=axes.get_xaxis_transform(), **look)
    axes.set(xlabel="trial, in the order of asking", ylabel=f"best validation {METRICS.get(primary, primary)}")
    axes.set_xlim(numbers[0] - 0.5, numbers[-1] + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(loc="outside upper left", ncols=7, handlelength=1.2)
    best, value = ranked[0]
    missing = len(trials) - len(ranked)
    without_value = f" At the lower edge: {counted(missing, 'trial')} without a value." if missing else ""
    return chart(
        name,
        figure,
        f"Best validation {METRICS.get(primary, primary)} of each trial over its epochs, by how it ended, and the best "
        f"so far. n = {counted(len(trials), 'trial')}; the best is #{best.record.number}, {number(value, 4)}."
        f"{without_value}",
    )
