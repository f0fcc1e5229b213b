"""From the winner to what is left behind: the product, its look at the test images, its place in the registry."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mlflow.exceptions import MlflowException

from orchestrator.common.console import say
from orchestrator.common.errors import UserError, first_line
from orchestrator.config.ensemble import EnsembleSettings
from orchestrator.config.types import shown_uri
from orchestrator.ensemble import final_test, lesion_shape, promotion
from orchestrator.ensemble.held_out import OutOfFoldPredictions
from orchestrator.ensemble.lesion_shape import Segmenter
from orchestrator.ensemble.member_predictions import Member
from orchestrator.ensemble.members import MemberTrainer
from orchestrator.ensemble.promotion import _promote, _register
from orchestrator.ensemble.selection import CombinerResult
from orchestrator.inference import mlflow_model
from orchestrator.inference.combination import Combination
from orchestrator.inference.export import MemberCheckpoints, Sources, write
from orchestrator.inference.format import RESULTS, LearntFrom
from orchestrator.scoring.operating_points import OperatingPoint, operating_thresholds
from orchestrator.scoring.predictions import StoredPredictions
from orchestrator.storage.atomic import write_arrays, write_text
from orchestrator.tracking.client import open_store
from trainables import checkpoint
from trainables.data import CLASSES, UNKNOWN
from trainables.data.prepared import image_hashes
from trainables.data.splits import TEST


def deliver(
    team: MemberTrainer,
    members: Sequence[Member],
    held: OutOfFoldPredictions,
    rows: Sequence[CombinerResult],
    winner: str,
    segmenter: Segmenter | None,
    settings: EnsembleSettings,
    run_id: str,
) -> dict[str, Any]:
    """Write the product, score it once on the test images, register it, and promote it by the rule.

    Returns:
        `digest`, `test`, `model_uri`, `promoted` and `why_promoted` of `ensemble.json`.

    Raises:
        UserError: a model cannot predict, or the store does not take the product.
    """
    row, single = (next(one for one in rows if one.name == name) for name in (winner, "best"))
    assert row.combination
    assert row.scored
    assert single.combination
    points = operating_thresholds(row.scored)
    digest = _digest([row.combination, single.combination], members, segmenter, team)
    # Not in a search's folder: the same candidates may win for several searches, and are one winner.
    home = team.search.files.winners / digest
    _write(home / "ensemble", row.combination, members, segmenter, team, points)
    compared = held.take(np.flatnonzero(held.compared))
    evidence = StoredPredictions(row.scored, compared.digests, compared.groups, compared.labels)
    write_arrays(home / promotion.HELD_OUT, evidence.arrays())
    client = open_store(settings.tracking_uri, create=True)
    storage = team.workers.storage
    if storage.uri:
        storage.await_answer()
        for file in storage.files(home):  # scored from another host, perhaps
            storage.fetch(file)
    test = final_test.stored(home, points)
    # Counted first: a look that a crash cut off was a look.
    client.set_tag(run_id, f"{promotion.SCORED}{digest}", "once")
    if test is None:
        say(f"the {winner} ensemble is scored on the test images")
        combinations = row.combination, single.combination
        test = final_test.score(team, members, held.candidates, *combinations, segmenter, points, settings.seed, home)
    test["times_scored"] = promotion.times_scored(client, team.data.data_fingerprint)
    write_text(home / "ensemble" / RESULTS, json.dumps(_results(row, held, test, home, team)))
    if team.task.name == "seg" and settings.out_of_fold:
        lesion_shape.keep(members, single.combination, team)
    tags = {
        "task": team.task.name,
        "digest": digest,
        "data_fingerprint": team.data.data_fingerprint,
        "data_source": team.search.source,
        "synthetic": str(team.data.synthetic).lower(),
        "classes": str(team.search.classes),
        "optimistic": str(held.optimistic).lower(),
        "combiner": winner,
        "members": ", ".join(row.members),
        "held_out": f"{test['metric']} {row.score:.4f}, standard error {row.standard_error:.4f}",
        "test": f"{test['metric']} {test['value']:.4f}, 95 % {test['interval'][0]:.4f} to {test['interval'][1]:.4f}",
    }
    try:
        version, uri = _register(client, run_id, home, tags)
        to_best = (test["difference"], *test["difference_interval"])
        promoted, why = _promote(client, version, row, single, evidence, to_best, team, settings, home)
    except (MlflowException, OSError) as error:
        where = shown_uri(settings.tracking_uri)
        raise UserError(f"{where} does not take the model ({first_line(error)}); it is in {home}") from error
    try:
        for file in (file for file in home.iterdir() if file.is_file()):
            storage.send(file)  # a report elsewhere needs them; the product itself is in MLflow
    except OSError as error:
        say(f"{storage.shown(home)} lacks the test predictions ({first_line(error)}); copy them from {home}")
    if settings.export:
        mlflow_model.save(settings.export, home / "ensemble")
    return {"digest": digest, "test": test, "model_uri": uri, "promoted": promoted, "why_promoted": why}


def _write(
    folder: Path,
    combination: Combination,
    members: Sequence[Member],
    segmenter: Segmenter | None,
    team: MemberTrainer,
    points: list[OperatingPoint],
) -> None:
    shape = None
    if segmenter and combination.stack is not None and combination.stack.uses_shape:
        shape = Sources(segmenter.combination, _sources([segmenter.member]), segmenter.member.size)
    data = team.data
    # Not the training images alone: one fold of them, at least, chose epoch and configuration.
    rows = np.flatnonzero(np.isin(data.groups, data.groups[data.split != TEST]))
    hashes = image_hashes(data, team.search.cache, rows)
    write(
        folder,
        Sources(combination, _sources(members), max(member.size for member in members)),
        keep_aspect=data.keep_aspect,
        synthetic=data.synthetic,
        tta=team.mirrored,
        operating_points=[point.model_dump(mode="json") for point in points],
        shape=shape,
        learnt_from=LearntFrom(hashes, team.search.duplicate_distance),
    )


def _results(
    row: CombinerResult,
    held: OutOfFoldPredictions,
    test: dict[str, Any],
    home: Path,
    team: MemberTrainer,
) -> dict[str, Any]:
    """What the product reached on its own data, for who has it alone: `results.json` in its folder."""
    labels = StoredPredictions.load(home / promotion.TEST).labels.tolist()
    counts = {name: labels.count(index) for index, name in enumerate(CLASSES)} | {"unknown": labels.count(UNKNOWN)}
    return {
        "data_fingerprint": team.data.data_fingerprint,
        "synthetic": team.data.synthetic,
        "combiner": row.name,
        "members": row.members,
        "held_out": {
            "metric": test["metric"],
            "value": row.score,
            "standard_error": row.standard_error,
            "images": int(held.compared.sum()),
            "optimistic": held.optimistic,
        },
        "test": test,
        "test_images": counts,
    }


def _sources(members: Sequence[Member]) -> list[MemberCheckpoints]:
    return [MemberCheckpoints(i, member.name, list(member.checkpoints.values())) for i, member in enumerate(members)]


def _digest(
    combinations: Sequence[Combination], members: Sequence[Member], segmenter: Segmenter | None, team: MemberTrainer
) -> str:
    """Names a winner, and the best single that it is compared with, by what they predict with, and for which data."""
    parts = [_parts(one, members, segmenter) for one in combinations]
    size = max(member.size for member in members)
    # The data, since what the same networks say of other test images, or beside other labels, is another result.
    identity = [team.data.data_fingerprint, team.mirrored, size, *parts]
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]


def _parts(combination: Combination, members: Sequence[Member], segmenter: Segmenter | None) -> list[Any]:
    """Networks, weights and calibration, of what it uses alone.

    Numbers are rounded to what makes no difference, so that the same ensemble, fitted again, has the same name.
    """

    def rounded(values: Sequence[float]) -> list[str]:
        return [f"{value:.3g}" for value in values]

    used = combination.members
    parts: list[Any] = []
    for folder in (folder for position in used for folder in members[position].checkpoints.values()):
        parts.append(hashlib.sha256((folder / checkpoint.WEIGHTS).read_bytes()).hexdigest())
    for head in (combination.classes, combination.masks):
        if head:
            shares = [head.weights[i] / head.temperatures[i] for i in used]
            parts.append(rounded([*shares, head.temperature, *head.bias, head.threshold]))
    if combination.stack:
        parts.append(rounded([value for one in combination.stack.weights().values() for value in one.values()]))
        if combination.stack.uses_shape and segmenter:
            folders = segmenter.member.checkpoints.values()
            parts += [hashlib.sha256((folder / checkpoint.WEIGHTS).read_bytes()).hexdigest() for folder in folders]
    return parts
