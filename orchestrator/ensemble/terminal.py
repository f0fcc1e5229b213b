"""What a person sees of an ensemble: its candidates, the six rows, the winner's figures, and what to do with it."""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace

from rich.table import Table

from orchestrator.common.console import console, format_seconds, say
from orchestrator.config.ensemble import EnsembleSettings
from orchestrator.config.loading import folder_of_images
from orchestrator.config.search import SearchSettings
from orchestrator.config.types import several
from orchestrator.ensemble.candidates import Candidate
from orchestrator.ensemble.combiners.registry import OPTIMISTIC
from orchestrator.ensemble.held_out import OutOfFoldPredictions
from orchestrator.ensemble.result import BoostRound, Difference, EnsembleResult, SourceRow
from orchestrator.ensemble.selection import CombinerResult
from orchestrator.inference.lesion_shape import FEATURES
from orchestrator.rendering.numbers import counted
from orchestrator.scoring.metrics import PRIMARY
from orchestrator.scoring.resampling import Estimate
from orchestrator.scoring.triage import AppliedTriage
from orchestrator.scoring.uncertainty import LEAST_ERRORS, Usefulness
from orchestrator.tracking.description import TAG as NOTE
from orchestrator.tracking.description import ensemble_tags
from trainables.data import Prepared


def heading(
    candidates: Sequence[Candidate], search: SearchSettings, data: Prepared, compared: Sequence[int]
) -> list[str]:
    """Which candidates, on which data and folds, a line each; compared: the folds that combiners are compared on."""
    folds = int(data.split.max()) + 1
    lines = [f"ensemble  {search.name}: data {data.data_fingerprint[:12]}, {folds} folds"]
    if not compared:
        lines.append("          optimistic: without out-of-fold predictions, compared on the fold of selection")
    elif len(compared) < folds - 1:
        shown, wider = ", ".join(map(str, compared)), math.sqrt((folds - 1) / len(compared))
        lines.append(
            f"          folds {shown} of {folds - 1} are compared on: standard errors about {wider:.1f} x those of all "
            "(--all-folds)"
        )
    lines += [f"candidate {one.score:.4f}  {one.name}, {one.epoch} epochs at {one.image_size} px" for one in candidates]
    return lines


def planned(models: int, rounds: int, seconds: float, left: float) -> str:
    """How long it will take, before it; left: seconds until the deadline, infinite without one."""
    trainings = {"fold model": models, "boost round": rounds}
    stages = [*(f"up to {counted(number, name)}" for name, number in trainings.items() if number), "comparison"]
    limit = f"; {format_seconds(left)} are left" if math.isfinite(left) else ""
    return f"          about {format_seconds(seconds)}: {', '.join(stages)}{limit}"


def with_reasons(
    rows: Sequence[CombinerResult], boosted: Sequence[BoostRound], *, optimistic: bool
) -> list[CombinerResult]:
    """The rows, with what boosting came to beside `boosted-trained`, and why it or stacking was not tried."""
    accepted = sum(one.accepted for one in boosted)
    found = []
    for row in rows:
        if row.name == "boosted-trained":
            said = [f"{accepted} of {len(boosted)} rounds accepted", *(_round(one) for one in boosted)]
            if optimistic:
                said = ["needs out-of-fold predictions"]
            elif not boosted:
                said = ["--boost-rounds 0"]
            row = replace(row, note="; ".join([*said, *([row.note] if row.score is not None else [])]))
        elif optimistic and row.name not in OPTIMISTIC and row.score is not None:
            row = replace(row, note="; ".join(filter(None, [row.note, "may not win without out-of-fold predictions"])))
        found.append(row)
    return found


def _round(one: BoostRound) -> str:
    if one.loss_falls_by is None:
        return f"round {one.round}: {one.note}"
    change = f"round {one.round}: loss falls by {one.loss_falls_by:.4f} (standard error {one.standard_error:.4f})"
    return change + (f", {one.note}" if one.note else "")


def comparison(rows: Sequence[CombinerResult], winner: str, task: str, held: OutOfFoldPredictions) -> None:
    """Print the six rows, with standard errors, and below them what there is to note."""
    title = f"held-out {PRIMARY[task]} of {int(held.compared.sum())} images, each predicted by what never saw its group"
    if held.optimistic:
        title += " (optimistic: same fold as selection)"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in ("", "combiner", PRIMARY[task], "minus best", "minus mean", "members"):
        table.add_column(name, no_wrap=True)
    for row in rows:
        score = "-" if row.score is None else f"{row.score:.4f} ±{row.standard_error:.4f}"
        table.add_row(
            "*" if row.name == winner else "",
            row.name,
            score,
            _difference(row.difference_to_best),
            _difference(row.difference_to_mean),
            str(len(row.members)) if row.members else "-",
        )
    console().print(table)
    for row in rows:
        for line in (row.note, _shape_weights(row)):
            if line:
                say(f"  {row.name}: {line}")


def by_source(rows: Sequence[SourceRow], task: str) -> None:
    """A line for each source; none where there are not several."""
    for row in rows:
        bounds = f" (95 % {row.interval[0]:.4f} to {row.interval[1]:.4f})" if row.interval else ""
        value = "no figure" if row.value is None else f"{PRIMARY[task]} {row.value:.4f}{bounds}"
        counted = f"{row.images} held-out images in {row.groups} groups"
        say(f"source    {row.name}: {row.word}; {value}, {counted}; {row.words}")


def _shape_weights(row: CombinerResult) -> str:
    """How lesion shape counts for malignant."""
    stack = row.combination.stack if row.combination else None
    if stack is None or not stack.uses_shape:
        return ""
    by_feature = {name: one.get("malignant", 0.0) for name, one in stack.weights().items() if name in FEATURES}
    return "lesion shape, weights for malignant: " + ", ".join(f"{k} {v:+.2f}" for k, v in by_feature.items())


def _difference(found: Difference | None) -> str:
    return "-" if found is None else f"{found.value:+.4f} ±{found.standard_error:.4f}"


def show(found: EnsembleResult, search: SearchSettings, settings: EnsembleSettings) -> None:
    """The last words: the winner's test figures, and the commands to use it, or to go on with what it lacks."""
    test = found.test
    low, high = test.interval
    say(
        f"test      {test.metric} {test.value:.4f} (95 % {low:.4f} to {high:.4f}), the best single candidate "
        f"{test.best_single:.4f}, difference {test.difference:+.4f} "
        f"({test.difference_interval[0]:+.4f} to {test.difference_interval[1]:+.4f})"
    )
    spread = test.retraining.standard_deviation
    if spread is not None:
        count = len(test.retraining.values)
        say(f"          each fold's models alone: standard deviation {spread:.4f} over {count}")
    say(f"          {_uncertainty(test.uncertainty)}")
    say(f"          the test images of these data were scored {_times(test.times_scored)} so far")
    for point in test.operating_points:
        shares = {"sensitivity": point.sensitivity, "specificity": point.specificity}
        rates = [_share(name, one) for name, one in shares.items() if one]
        meant = f"{point.rate:.0%} {point.kept} held out"
        say(f"          malignant from {point.threshold:.3f} ({meant}): {', '.join(rates)}")
    if test.triage:
        say(f"          {_triage(test.triage)}")
    say(f"model     {found.model_uri}{', now the champion' if found.promoted else ''}: {found.why_promoted}")
    say(f"ensemble  {search.files.ensemble_report}, in {format_seconds(found.seconds)}")
    python, uri = shlex.quote(sys.executable), shlex.quote(settings.tracking_uri)
    model = "" if found.promoted else f" --model {found.model_uri}"
    use = f"{python} -m orchestrator.predict --task {search.task} --tracking-uri {uri}{model}"
    say(f"use it    {use} --out predictions {shlex.quote(str(folder_of_images(search)))}")
    if found.lacks:
        say(f"lacks     {'; '.join(found.lacks)}; to go on: {command(settings, search)}")
    if found.verdict:
        say(f"verdict   {found.verdict.line}")


def _share(name: str, share: Estimate) -> str:
    low, high = share.interval or (math.nan, math.nan)
    return f"{name} {share.value:.3f} ({low:.3f} to {high:.3f})"


def _triage(found: AppliedTriage) -> str:
    """What it promised, and what it did."""
    shares = {"malignant ruled out": found.ruled_out, "others ruled in": found.ruled_in, "uncertain": found.uncertain}
    told = ", ".join(_share(name, one) for name, one in shares.items() if one)
    return f"triage at {found.rate:.1%} of either error: {told}"


def _uncertainty(found: Usefulness | None) -> str:
    """Whether uncertainty is of use, in words."""
    assert found  # of what is scored now
    errors = f"{found.errors} error{'s' * (found.errors != 1)} among {found.images} images"
    if found.errors < LEAST_ERRORS or found.auroc_for_errors is None:
        return f"uncertainty cannot be judged: {errors}"
    low, high = found.interval or (math.nan, math.nan)
    useful = "tells errors from the rest" if found.useful else "was not shown to tell errors from the rest"
    return f"uncertainty {useful}: AUROC {found.auroc_for_errors:.3f} ({low:.3f} to {high:.3f}), {errors}"


def figures(found: EnsembleResult) -> dict[str, float]:
    """The ensemble's own metrics in MLflow. None is named best/...: it must not stand in the trials' ranking."""
    test = found.test
    scores = {f"held_out/{row.name}": row.score for row in found.combiners if row.score is not None}
    tested = {f"test/{name}": one.value for name, one in test.scores.items()}
    interval = dict(zip(("test/interval_low", "test/interval_high"), test.interval, strict=True))
    return scores | tested | interval | {"test/times_scored": test.times_scored, "ensemble/seconds": found.seconds}


def tags(found: EnsembleResult) -> dict[str, str]:
    """What the experiment's description shows of it, as tags of its run."""
    row = found.winning
    held_out = (row.score or math.nan, row.standard_error or math.nan)
    verdict = found.verdict.word if found.verdict else ""
    return {NOTE: _note(found), "lacks": "; ".join(found.lacks)} | ensemble_tags(
        found.winner, verdict, held_out, found.test, found.model_uri.rpartition("/")[2]
    )


def _note(found: EnsembleResult) -> str:
    """Its run in MLflow in words: what, how good, its verdict, and how to use it."""
    test, members = found.test, len(found.winning.members)
    line = f"Verdict: {found.verdict.line}.\n\n" if found.verdict else ""
    figure = f"test {test.metric} {test.value:.4f} (95 % {test.interval[0]:.4f} to {test.interval[1]:.4f})"
    use = f"python -m orchestrator.predict --task {found.task} --model {found.model_uri} --out predictions IMAGE"
    lacks = f" It lacks {'; '.join(found.lacks)}." if found.lacks else ""
    return f"{line}{found.winner} of {members} members: {figure}.{lacks}\n\nUse it: `{use}`"


def command(settings: EnsembleSettings, search: SearchSettings) -> str:
    """The command that goes on with this ensemble."""
    words = ["--task", search.task, "--name", search.name]
    for name, value in settings.model_dump(
        exclude={"task", "name", "tracking_uri", "time_budget"}, exclude_defaults=True
    ).items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            words += [f"--{flag}", *map(str, several(value))]
    words += ["--tracking-uri", settings.tracking_uri]
    return shlex.join([sys.executable, "-m", "orchestrator.ensemble", *words])


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
