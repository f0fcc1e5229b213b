"""The search itself: how it went, what it cost, and what its trials say of the parameters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from orchestrator.common.errors import UserError
from orchestrator.rendering.document import Block, Heading, SideBySide, Table, Text
from orchestrator.rendering.numbers import counted, number
from orchestrator.report.search.cost import budget, budget_chart, time_spent
from orchestrator.report.search.history import history
from orchestrator.report.search.importances import importance_chart, importance_table, importances
from orchestrator.report.search.parallel_coordinates import parallel
from orchestrator.report.search.trials import (
    METRICS,
    OUTCOMES,
    TrialOutcome,
    read_study,
    read_trials,
    shown,
    valued,
    varied,
)
from orchestrator.storage.run_folder import RunFolder
from orchestrator.tuning.summary import SearchSummary
from trainables.locks import is_held

#: Trials in the tables of the best.
BEST = 10
#: Of them in one table: more would not fit beside each other.
BESIDE = 6


def search_blocks(folder: Path, summary: SearchSummary | None, primary: str) -> list[Block]:
    """What a page says of a search.

    A search that runs is read as far as it is written. What cannot be read, or says nothing, is said in words.

    Args:
        folder: the search's. summary: None where it has not ended.
        primary: the metric that its trials were ranked by: dice, auroc or score.
    """
    try:
        trials = read_trials(folder, primary)
    except UserError as error:
        return [Text(f"{error}.", warning=True)]
    if not trials:
        return [Text("No trial of this search was started.", warning=True)]
    blocks: list[Block] = []
    if is_held(RunFolder(folder).lock):
        blocks.append(Text("The search is still running: this is as far as it is written.", warning=True))
    metric = METRICS.get(primary, primary)
    task = summary.task if summary else primary
    drawn = history(f"history-{task}", trials, primary)
    if drawn is None:
        blocks.append(Text(f"No trial has a validation {metric}, of {len(trials):,} started.", warning=True))
    else:
        words = (
            "Values are of the validation part, the best over epochs. They rank trials; chosen as the best of many, "
            "they are no estimate of what a model does on new images. #1 is the first trial."
        )
        blocks += [Text(words, quiet=True), drawn, *best_trials(trials, primary)]
        lines = parallel(f"parallel-{task}", trials, primary)
        blocks += [Heading("Trials by their parameters"), lines] if lines else []
        blocks += [Heading("Hyperparameter importances"), *_importances(folder, task, trials)]
    blocks += [Heading("Time and budget"), budget(trials, primary), budget_chart(f"budget-{task}", trials)]
    return [*blocks, time_spent(trials, summary)]


def best_trials(trials: Sequence[TrialOutcome], primary: str) -> list[Table]:
    """The best trials side by side, `BESIDE` a table, a row for each parameter in which they differ."""
    ranked = valued(trials)[:BEST]
    names = varied([trial for trial, _ in ranked])
    words = f"The best {len(ranked)} of {counted(len(trials), 'trial')}, and the parameters in which these differ"
    if len(ranked) == 1:
        config = ranked[0][0].record.config
        names, words = list(config), f"The one trial with a value, of {len(trials):,}, and its parameters"
    tables = -(-len(ranked) // BESIDE)
    each = -(-len(ranked) // tables)
    parts = [ranked[first : first + each] for first in range(0, len(ranked), each)]
    ranks = [f": ranks {i * each + 1} to {i * each + len(part)}" if tables > 1 else "" for i, part in enumerate(parts)]
    return [_beside(f"{words}{rank}.", part, names, primary) for rank, part in zip(ranks, parts, strict=True)]


def _beside(caption: str, ranked: Sequence[tuple[TrialOutcome, float]], names: Sequence[str], primary: str) -> Table:
    rows = [
        (METRICS.get(primary, primary), *(number(value, 4) for _, value in ranked)),
        ("ended", *(OUTCOMES[trial.outcome] for trial, _ in ranked)),
        ("epochs done", *(str(trial.record.epoch) for trial, _ in ranked)),
        ("architecture", *(shown(trial.architecture) for trial, _ in ranked)),
        *(
            (shown(name), *(shown(trial.record.config.get(name)) for trial, _ in ranked))
            for name in names
            if name != "architecture"
        ),
    ]
    columns = ("", *(f"#{trial.record.number}" for trial, _ in ranked))
    return Table(caption, columns, rows, texts=len(columns))


def _importances(folder: Path, task: str, trials: Sequence[TrialOutcome]) -> list[Block]:
    try:
        found = importances(read_study(folder), trials)
    except UserError as error:
        return [Text(f"Hyperparameter importances are left out: {error}.")]
    if isinstance(found, str):
        return [Text(found)]
    return [
        Text(
            "They tell which parameters set the best trials apart from all, not what they cause: later trials are "
            "drawn where earlier ones were good.",
            quiet=True,
        ),
        SideBySide([importance_chart(f"importances-{task}", found), importance_table(found)]),
    ]
