"""An experiment's description in MLflow: the current ranking and its ensembles, as Markdown."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import NamedTuple

from mlflow import MlflowClient
from mlflow.entities import Run

from orchestrator.scoring.final_scores import FinalScores
from orchestrator.tracking import ui_view
from orchestrator.tracking.ranking import TrialRow, best_trials, compared_by, runs_of
from orchestrator.tracking.registry import champion, model_name

#: Of an experiment, or of a run.
TAG = "mlflow.note.content"
TOP = 10
#: What stands around our part; a person's own words before and after it stay.
BEGIN, END = "<!-- ranking -->", "<!-- /ranking -->"
#: Characters that MLflow takes of an experiment's tag are 20,000; a person's own words need some of them.
LENGTH, OWN = 15_000, 4_000
#: Characters of a name.
NAME = 80
#: Tags of an ensemble's run that are shown: see `ensemble_tags`.
WINNER, VERDICT, HELD_OUT, TEST, TO_BEST, VERSION = "winner", "verdict", "held_out", "test", "minus_best", "version"


class Group(NamedTuple):
    """Trials that may be compared: task, number of classes, data fingerprint; and what stands for them in words."""

    task: str
    classes: int
    fingerprint: str
    primary: str
    source: str
    synthetic: bool


def update(client: MlflowClient, experiment_id: str) -> None:
    """Write the description, where it is not so already.

    Raises:
        MlflowException, OSError: the store cannot be read or written.
    """
    text = describe(client, experiment_id)
    before = client.get_experiment(experiment_id).tags.get(TAG, "")
    own, _, rest = before.partition(BEGIN)
    after = rest.partition(END)[2]
    if len(own) + len(after) > OWN:
        return  # there is no room beside what a person wrote
    whole = f"{own}{BEGIN}\n{text}\n{END}{after}"
    if whole != before:
        client.set_experiment_tag(experiment_id, TAG, whole)


def describe(client: MlflowClient, experiment_id: str) -> str:
    """The rankings of an experiment as Markdown, that of the newest search first, at most `LENGTH` characters.

    Raises:
        MlflowException, OSError: the store cannot be read.
    """
    order = "attributes.start_time DESC"
    searches = list(runs_of(client, [experiment_id], "tags.kind = 'search'", order))
    ensembles = list(runs_of(client, [experiment_id], "tags.kind = 'ensemble'", order))
    run_of = {run.data.tags.get("search_id", ""): run.info.run_id for run in reversed(searches)}
    text, left = "", 0
    found = [group for run in reversed(searches) if (group := _group(run))]
    for group in reversed({group[:3]: group for group in found}.values()):
        trials = best_trials(client, experiment_id, *group[:4], TOP)
        lines = [_heading(group, trials, experiment_id), *_table(group, trials, experiment_id, run_of)]
        lines += _ensembles(client, group, [run for run in ensembles if _is_of(run, group)][:TOP], experiment_id)
        part = "\n".join([*lines, "", ""])
        if len(text) + len(part) > LENGTH:
            left += 1
        else:
            text += part
    if left:
        text += f"{left} more rankings are not shown: `python -m orchestrator.leaderboard` shows them all.\n\n"
    return text + "As of the last trial that ended; while a search runs, about a minute old at most."


def escape(text: str) -> str:
    """Foreign text as it stands in Markdown: shown, whatever is in it; what cannot be seen is shown as \ufffd."""
    cut = text if len(text) <= NAME else f"{text[: NAME - 1]}…"
    return "".join(_character(one) for one in cut)


def _character(one: str) -> str:
    if one.isalnum() or one in " -":
        return one
    return "\ufffd" if unicodedata.category(one)[0] in "CZ" else f"&#{ord(one)};"


def trial_note(label: str, metric: str, best: float | None, epochs: int) -> str:
    """A trial's run in words: what, and how good."""
    if best is None:
        return f"{label}: it ended before its first epoch did."
    return (
        f"{label}: best {metric} {best:.4f} in {epochs} epochs, on the validation images that chose the epoch: "
        "optimistic. `python -m orchestrator.ensemble` makes a model of the best."
    )


def ensemble_tags(
    winner: str, verdict: str, held_out: tuple[float, float], test: FinalScores, version: str
) -> dict[str, str]:
    """What the description shows of an ensemble, as tags of its run.

    Args:
        winner: the combiner. verdict: in a word. held_out: its score and the standard error of that.
        version: in the registry.
    """
    low, high = test.interval or (math.nan, math.nan)
    below, above = test.difference_interval
    return {
        WINNER: winner,
        VERDICT: verdict,
        HELD_OUT: f"{held_out[0]:.4f} ± {held_out[1]:.4f}",
        TEST: f"{test.value:.4f} ({low:.4f} to {high:.4f})",
        TO_BEST: f"{test.difference:+.4f} ({below:+.4f} to {above:+.4f})",
        VERSION: version,
    }


def _group(run: Run) -> Group | None:
    """What a search's trials may be compared with."""
    tags = run.data.tags
    try:
        key = compared_by(tags)
    except ValueError:
        return None
    source = tags.get("data_source", "")
    return Group(*key, tags["primary"], PurePath(source).name or source, tags.get("synthetic") == "true")


def _is_of(ensemble: Run, group: Group) -> bool:
    tags = ensemble.data.tags
    key = tags.get("task"), tags.get("classes", "3"), tags.get("data_fingerprint")
    return WINNER in tags and key == (group.task, str(group.classes), group.fingerprint)


def _heading(group: Group, trials: Sequence[TrialRow], experiment_id: str) -> str:
    """The UI shows the first line alone until a person opens the description."""
    two = " (2 classes)" if group.classes == 2 else ""
    synthetic = ", **SYNTHETIC**" if group.synthetic else ""
    best = "no trial has a value yet"
    if trials:
        link = _link(trials[0].name, experiment_id, trials[0].run_id)
        best = f"best validation {group.primary} **{trials[0].best:.4f}**, {link}"
    data = f"{escape(group.source)} (data {escape(group.fingerprint[:8])}{synthetic})"
    return f"**{group.task}{two}** on {data}: {best}\n"


def _table(group: Group, trials: Sequence[TrialRow], experiment_id: str, run_of: Mapping[str, str]) -> Iterator[str]:
    if trials:
        yield _line("#", "trial", f"best {group.primary}", "epochs", "state", "architecture", "search")
        yield "| --- " * 7 + "|"
    for place, row in enumerate(trials, 1):
        parent = run_of.get(row.search_id)
        same = row.encoder in row.architecture or row.architecture in row.encoder
        yield _line(
            str(place),
            _link(row.name, experiment_id, row.run_id),
            f"{row.best:.4f}",
            str(row.epochs),
            escape(row.stopped or row.status.lower()),
            escape(row.architecture if same else f"{row.architecture} {row.encoder}"),
            _link(row.search, experiment_id, parent) if parent else escape(row.search),
        )
    view = ui_view.address("", experiment_id, group.primary).removeprefix("/")
    how = f"sorted by `best/{group.primary}`; a click on a column's name sorts by it"
    yield f"\n[All trials, best first]({view}): {how}."
    why = "Validation images chose epoch and trial, so that these values are optimistic"
    yield f"{why}; those of synthetic data say nothing about patients.\n" if group.synthetic else f"{why}.\n"


def _ensembles(client: MlflowClient, group: Group, runs: Sequence[Run], experiment_id: str) -> Iterator[str]:
    standing = champion(client, group.task) if runs else None
    if runs:
        held_out, test = f"held-out {group.primary} ± standard error", f"test {group.primary} (95 %)"
        yield _line("ensemble", "combiner", "verdict", held_out, test, "test, minus best single (95 %)", "model")
        yield "| --- " * 7 + "|"
    for run in runs:
        tags = run.data.tags
        version = tags.get(VERSION, "")
        model = f"[version {escape(version)}](#/models/{model_name(group.task)}/versions/{escape(version)})"
        is_champion = standing is not None and str(standing.version) == version
        yield _line(
            _link(run.info.run_name or "ensemble", experiment_id, run.info.run_id),
            *(escape(tags.get(name, "")) for name in (WINNER, VERDICT, HELD_OUT, TEST, TO_BEST)),
            f"{model}, **champion**" if is_champion else model,
        )


def _line(*cells: str) -> str:
    """A table's line; spaces of their own, because the UI's tables have none between columns."""
    return "|" + "|".join(f" {cell}&emsp;" for cell in cells) + "|"


def _link(name: str, experiment_id: str, run_id: str) -> str:
    return f"[{escape(name)}](#/experiments/{experiment_id}/runs/{run_id})"
