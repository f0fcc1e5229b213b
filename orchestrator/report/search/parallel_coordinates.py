"""The trials of a search as lines through their parameters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np

from orchestrator.rendering.charts import FAINT, FULL, INK, canvas, chart, styled
from orchestrator.rendering.document import Chart
from orchestrator.report.search.trials import METRICS, TrialOutcome, shown, valued, varied

#: Parameters drawn beside architecture and value, lines drawn, and how many of those are the best.
MOST, LINES, BEST = 9, 300, 50
#: Whole numbers with more values than this have a scale, others with more than two; the rest stand as categories do.
FEW = 6
#: A scale whose ends are further apart than this is logarithmic.
WIDE = 30.0
#: Characters of a category's name.
LETTERS = 15
#: Where trials stand that do not have a parameter.
BELOW = -0.1


@dataclass(frozen=True)
class Scale:
    """An axis: its words, where each trial stands on it, 0..1, and where which words stand."""

    name: str
    places: np.ndarray
    ticks: Sequence[tuple[float, str]]


def drawn_parameters(trials: Sequence[TrialOutcome]) -> list[str]:
    """The parameters that most trials have and that vary most, in the order of their configurations."""
    configs = [trial.record.config for trial in trials]
    commonest = {}
    for name in varied(trials):
        values = [shown(config.get(name)) for config in configs]
        if sum(value != "-" for value in values) > len(values) / 2:
            commonest[name] = Counter(values).most_common(1)[0][1]
    kept = sorted(commonest, key=lambda name: commonest[name])[:MOST]
    return [name for name in commonest if name in kept]


def scale(name: str, values: Sequence[Any]) -> Scale:
    """An axis for these values, one a trial: numbers by size, logarithmic if far apart; few or other ones as steps."""
    numbers = np.array([_number(value) for value in values])
    known = numbers[np.isfinite(numbers)]
    words = [shown(value) for value in values]
    few = FEW if all(known == known.round()) else 2
    if len(set(known)) > few and all(np.isfinite(numbers) | (np.array(words) == "-")):
        low, high = known.min(), known.max()
        wide = low > 0 and high / low > WIDE
        apply = np.log10 if wide else np.asarray
        ends = apply(np.array([low, high]))
        places = (apply(np.where(np.isfinite(numbers), numbers, low)) - ends[0]) / (ends[1] - ends[0])
        missing = ~np.isfinite(numbers)
        at = np.linspace(ends[0], ends[1], 4)
        ticks = [(i / 3, f"{10**tick if wide else tick:.2g}") for i, tick in enumerate(at)]
        ticks += [(BELOW, "-")] * bool(missing.any())
        return Scale(f"{_cut(name)}\n(log)" if wide else _cut(name), np.where(missing, BELOW, places), ticks)
    order = dict(zip(words, numbers, strict=True))
    steps = sorted(order, key=lambda word: (not np.isfinite(order[word]), np.nan_to_num(order[word]), word))
    spacing = 1 / max(len(steps) - 1, 1)
    # Spread evenly, not at random: the same trials give the same page.
    spread = 0.22 * min(spacing, 0.25) * np.sin(2.4 * np.arange(len(words)))
    places = np.array([steps.index(word) for word in words]) * spacing + spread
    every = -(-len(steps) // 24)
    return Scale(_cut(name), places, [(i * spacing, _cut(word)) for i, word in enumerate(steps) if i % every == 0])


@styled
def parallel(name: str, trials: Sequence[TrialOutcome], primary: str) -> Chart | None:
    """A line a trial through its architecture, its parameters and its value. None of fewer than two with a value."""
    ranked = valued(trials)
    if len(ranked) < 2:
        return None
    rest = np.arange(BEST, len(ranked))
    if len(ranked) > LINES:
        rest = np.unique(np.linspace(BEST, len(ranked) - 1, LINES - BEST).astype(int))
    some = [*ranked[:BEST], *(ranked[i] for i in rest)]
    configs = [trial.record.config for trial, _ in some]
    values = np.array([value for _, value in some])
    heavy = max(1, min(10, len(ranked) // 5))
    best = f"the best {heavy}" if heavy > 1 else "the best"
    names = ["architecture", *drawn_parameters([trial for trial, _ in ranked])]
    names = [one for one in names if len({shown(config.get(one)) for config in configs}) > 1]
    scales = [scale(one, [config.get(one) for config in configs]) for one in names]
    low, high = float(values.min()), float(values.max())
    places = (values - low) / (high - low) if high > low else np.full(len(values), 0.5)
    span = [(i / 4, f"{low + i / 4 * (high - low):.3f}") for i in range(5)] if high > low else [(0.5, f"{low:.3f}")]
    scales.append(Scale(METRICS.get(primary, primary), places, span))
    figure, (axes,) = canvas(FULL, 4.4)
    colours = matplotlib.colormaps["viridis_r"](0.12 + 0.88 * places)
    for i in reversed(range(len(some))):
        front = i < heavy
        axes.plot(
            [one.places[i] for one in scales],
            color=colours[i],
            linewidth=1.8 if front else 0.8,
            alpha=0.95 if front else 0.45,
            solid_joinstyle="round",
        )
    box = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 0.6}
    for at, one in enumerate(scales):
        axes.axvline(at, color=FAINT, linewidth=1, zorder=1)
        for place, word in one.ticks:  # above the place, where a level line does not strike it through
            axes.annotate(
                word, (at, place), (3, 3), textcoords="offset points", va="bottom", fontsize=7, bbox=box, zorder=5
            )
    axes.set_xticks(range(len(scales)), [one.name for one in scales], fontsize=8, color=INK)
    axes.set(ylim=(BELOW - 0.06, 1.06), xlim=(-0.1, len(scales) - 0.45))
    axes.set_yticks([])
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.grid(visible=False)
    for side in axes.spines.values():
        side.set_visible(False)
    part = f", {len(some)} of them drawn: the best {BEST} and an even sample of the others by rank"
    return chart(
        name,
        figure,
        f"Each line is a trial with a value: the darker, the better; heavy: {best}. n = {len(ranked):,} "
        f"trials{part if len(some) < len(ranked) else ''}. Parameters: those that most trials have and that vary "
        "most.",
    )


def _number(value: Any) -> float:
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if plain and np.isfinite(value) else np.nan


def _cut(word: str) -> str:
    half = LETTERS // 2
    return word if len(word) <= LETTERS else f"{word[:half]}\N{HORIZONTAL ELLIPSIS}{word[-half:]}"
