"""From the winner to what is left behind: the product, its look at the test images, its place in the registry."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from orchestrator import champions
from orchestrator.cli import UserError
from orchestrator.ensemble import registry, shapes, testing
from orchestrator.ensemble.assembly import Member
from orchestrator.ensemble.choice import Row
from orchestrator.ensemble.heldout import HeldOut
from orchestrator.ensemble.operating import operating_thresholds
from orchestrator.ensemble.registry import Evidence
from orchestrator.ensemble.settings import EnsembleSettings
from orchestrator.ensemble.shapes import Segmenter
from orchestrator.ensemble.team import Team
from orchestrator.files import write_arrays, write_text
from orchestrator.product import mlflow_model
from orchestrator.product.combination import Combination
from orchestrator.product.folder import RESULTS, LearntFrom
from orchestrator.product.writing import Source, Sources, write
from orchestrator.store import TrackingError, first_line, open_store, shown_uri
from trainables import checkpoint
from trainables.data import CLASSES, UNKNOWN
from trainables.data.prepared import image_hashes
from trainables.data.splits import TEST


def deliver(
    team: Team,
    members: Sequence[Member],
    held: HeldOut,
    rows: Sequence[Row],
    winner: str,
    segmenter: Segmenter | None,
    settings: EnsembleSettings,
    run_id: str,
    *,
    folder: Path,
    synthetic: bool,
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
    home = team.search.cache / "winners" / digest
    _write(home / "ensemble", row.combination, members, segmenter, team, points, synthetic=synthetic)
    compared = held.take(np.flatnonzero(held.compared))
    evidence = Evidence(row.scored, compared.digests, compared.groups, compared.labels)
    write_arrays(home / registry.HELD_OUT, evidence.arrays())
    client = open_store(settings.tracking_uri, create=True)
    storage = team.workers.storage
    if storage.uri:
        storage.await_answer()
        for file in storage.files(home):  # scored from another host, perhaps
            storage.fetch(file)
    test = testing.stored(home, points)
    # Counted first: a look that a crash cut off was a look.
    client.set_tag(run_id, f"{registry.SCORED}{digest}", "once")
    if test is None:
        team.say(f"the {winner} ensemble is scored on the test images")
        combinations = row.combination, single.combination
        test = testing.score(team, members, held.candidates, *combinations, segmenter, points, settings.seed, home)
    test["times_scored"] = registry.times_scored(client, team.data.data_fingerprint)
    write_text(home / "ensemble" / RESULTS, json.dumps(_results(row, held, test, home, team, synthetic=synthetic)))
    if team.task.name == "seg" and settings.out_of_fold:
        shapes.keep(folder, members, single.combination, team)
    tags = {
        "task": team.task.name,
        "digest": digest,
        "data_fingerprint": team.data.data_fingerprint,
        "data_source": team.search.source,
        "synthetic": str(synthetic).lower(),
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
        promoted, why = _promote(
            client, version, row, single, evidence, to_best, team, settings, home, synthetic=synthetic
        )
    except (MlflowException, OSError) as error:
        where = shown_uri(settings.tracking_uri)
        raise UserError(f"{where} does not take the model ({first_line(error)}); it is in {home}") from error
    try:
        for file in (file for file in home.iterdir() if file.is_file()):
            storage.send(file)  # a report elsewhere needs them; the product itself is in MLflow
    except OSError as error:
        team.say(f"{storage.shown(home)} lacks the test predictions ({first_line(error)}); copy them from {home}")
    if settings.export:
        mlflow_model.save(settings.export, home / "ensemble")
    return {"digest": digest, "test": test, "model_uri": uri, "promoted": promoted, "why_promoted": why}


def _write(
    folder: Path,
    combination: Combination,
    members: Sequence[Member],
    segmenter: Segmenter | None,
    team: Team,
    points: list[dict[str, Any]],
    *,
    synthetic: bool,
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
        synthetic=synthetic,
        tta=team.mirrored,
        operating_points=points,
        shape=shape,
        learnt_from=LearntFrom(hashes, team.search.duplicate_distance),
    )


def _results(
    row: Row, held: HeldOut, test: dict[str, Any], home: Path, team: Team, *, synthetic: bool
) -> dict[str, Any]:
    """What the product reached on its own data, for who has it alone: `results.json` in its folder."""
    labels = Evidence.load(home / registry.TEST).labels.tolist()
    counts = {name: labels.count(index) for index, name in enumerate(CLASSES)} | {"unknown": labels.count(UNKNOWN)}
    return {
        "data_fingerprint": team.data.data_fingerprint,
        "synthetic": synthetic,
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


def _sources(members: Sequence[Member]) -> list[Source]:
    return [Source(i, member.name, list(member.checkpoints.values())) for i, member in enumerate(members)]


def _digest(
    combinations: Sequence[Combination], members: Sequence[Member], segmenter: Segmenter | None, team: Team
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


def _register(client: MlflowClient, run_id: str, home: Path, tags: dict[str, str]) -> tuple[str, str]:
    """The version of the registered model that this winner is, made unless it is there; and its address."""
    name = champions.model_name(tags["task"])
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    same = [one for one in client.search_model_versions(f"name='{name}'") if one.tags.get("digest") == tags["digest"]]
    if same:
        version = str(same[0].version)
    else:
        with tempfile.TemporaryDirectory(dir=home) as scratch:
            mlflow_model.save(Path(scratch) / "model", home / "ensemble")
            source = mlflow_model.log(client, run_id, Path(scratch) / "model", f"model-{tags['digest']}")
        for file in (registry.HELD_OUT, registry.TEST):
            client.log_artifact(run_id, str(home / file), f"predictions-{tags['digest']}")
        synthetic = "SYNTHETIC data. " if tags["synthetic"] == "true" else ""
        words = f"{synthetic}{tags['combiner']} of {tags['members']}. Test: {tags['test']}. "
        words += f"Held out: {tags['held_out']}. "
        words += f"Data: {Path(tags['data_source']).name} ({tags['data_fingerprint'][:12]}). Not a medical device."
        version = str(client.create_model_version(name, source, run_id, tags=tags, description=words).version)
    return version, f"models:/{name}/{version}"


def _promote(
    client: MlflowClient,
    version: str,
    row: Row,
    single: Row,
    evidence: Evidence,
    test_to_best: tuple[float, float, float],
    team: Team,
    settings: EnsembleSettings,
    home: Path,
    *,
    synthetic: bool,
) -> tuple[bool, str]:
    standing = champions.champion(client, team.task.name)
    if standing is not None and str(standing.version) == version:
        return True, "it is the champion already"
    with tempfile.TemporaryDirectory() as scratch:
        kept = None
        if standing is not None and standing.run_id:
            try:
                folder = f"predictions-{standing.tags.get('digest')}"
                kept = Path(client.download_artifacts(standing.run_id, folder, scratch))
            except (MlflowException, OSError, TrackingError):
                kept = None  # told by the verdict
        promoted, why = registry.verdict(
            team.task.name,
            settings.promote,
            alarms=row.fpr_normal,
            alarms_of_best=single.fpr_normal,
            synthetic=synthetic,
            data_fingerprint=team.data.data_fingerprint,
            classes=team.search.classes,
            optimistic=not settings.out_of_fold,
            held_out=evidence,
            test=Evidence.load(home / registry.TEST),
            test_to_best=test_to_best,
            standing=standing,
            stored=kept,
        )
    if promoted:
        client.set_registered_model_alias(champions.model_name(team.task.name), champions.CHAMPION, version)
    return promoted, why
