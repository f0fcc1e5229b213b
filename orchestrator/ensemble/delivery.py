"""From the winner to what is left behind: the product, its look at the test images, its place in the registry."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from mlflow.exceptions import MlflowException

from orchestrator.common.console import say
from orchestrator.common.errors import UserError, first_line
from orchestrator.config.ensemble import EnsembleSettings
from orchestrator.config.types import shown_uri
from orchestrator.ensemble import final_test, lesion_shape, promotion
from orchestrator.ensemble.finalists import Finalists
from orchestrator.ensemble.held_out import OutOfFoldPredictions
from orchestrator.ensemble.judging import judge_held_out
from orchestrator.ensemble.member import Member
from orchestrator.ensemble.result import OwnHeldOut, OwnResults, OwnTest, TestResult
from orchestrator.ensemble.selection import CombinerResult
from orchestrator.inference import mlflow_model
from orchestrator.inference.export import MemberCheckpoints, Sources, write
from orchestrator.inference.format import RESULTS, LearntFrom
from orchestrator.inference.triage import Triage
from orchestrator.scoring.operating_points import OperatingPoint, operating_thresholds
from orchestrator.scoring.predictions import HELD_OUT, TEST, StoredPredictions
from orchestrator.scoring.triage import calibrate
from orchestrator.scoring.verdict import Verdict
from orchestrator.storage.atomic import write_arrays, write_text
from orchestrator.tracking.client import open_store
from trainables.data import CLASSES, UNKNOWN, manifest
from trainables.data.preparation import image_hashes
from trainables.data.words import written

if TYPE_CHECKING:
    from orchestrator.ensemble.members import MemberTrainer


class Delivery(NamedTuple):
    """What `EnsembleResult` says of the product: see there."""

    digest: str
    test: TestResult
    model_uri: str
    promoted: bool
    why_promoted: str
    verdict: Verdict


def deliver(
    team: MemberTrainer,
    finalists: Finalists,
    held: OutOfFoldPredictions,
    settings: EnsembleSettings,
    run_id: str,
) -> Delivery:
    """Write the product, score it once on the test images, register it, and promote it by the rule.

    Raises:
        UserError: a model cannot predict, or the store does not take the product.
    """
    row, single = finalists.winner, finalists.single
    assert row.scored
    points = operating_thresholds(row.scored)
    compared = held.take(np.flatnonzero(held.compared))
    # Of the fold that chose the epochs, nothing could be promised.
    triage = None if held.optimistic else calibrate(row.scored, compared.groups, settings.triage)
    digest = finalists.digest(team)
    # Not in a search's folder: the same candidates may win for several searches, and are one winner.
    home = team.search.files.winners / digest
    _write(home / "ensemble", finalists, team, points, triage)
    evidence = StoredPredictions(row.scored, compared.digests, compared.groups, compared.labels)
    write_arrays(home / HELD_OUT, evidence.arrays())
    client = open_store(settings.tracking_uri, create=True)
    storage = team.workers.storage
    if storage.uri:
        storage.await_answer()
        for file in storage.files(home):  # scored from another host, perhaps
            storage.fetch(file)
    test = final_test.stored(home, points, triage)
    # Counted first: a look that a crash cut off was a look.
    client.set_tag(run_id, f"{promotion.SCORED}{digest}", "once")
    if test is None:
        say(f"the {row.name} ensemble is scored on the test images")
        test = final_test.score(team, finalists, points, triage, held, settings.seed, home)
    test = test.model_copy(update={"times_scored": promotion.times_scored(client, team.data.data_fingerprint)})
    verdict = Verdict.of(judge_held_out(row.scored, held, points, settings.seed), test.judgement)
    on_test = StoredPredictions.load(home / TEST)
    write_text(home / "ensemble" / RESULTS, _results(row, held, test, on_test, team, verdict).model_dump_json())
    if team.task.name == "seg" and not held.optimistic:
        lesion_shape.keep(finalists.members, finalists.combinations[1], team)
    tags = {
        "task": team.task.name,
        "digest": digest,
        "data_fingerprint": team.data.data_fingerprint,
        "data_source": written(team.search.source),
        "synthetic": str(team.data.synthetic).lower(),
        "classes": str(team.search.classes),
        "optimistic": str(held.optimistic).lower(),
        "verdict": verdict.word,
        "because": verdict.line,
        "combiner": row.name,
        "members": ", ".join(row.members),
        "lacks": "; ".join(team.deadline.lacks),
        "held_out": f"{test.metric} {row.score:.4f}, standard error {row.standard_error:.4f}",
        "test": f"{test.metric} {test.value:.4f}, 95 % {test.interval[0]:.4f} to {test.interval[1]:.4f}",
    }
    try:
        version, uri = promotion.register(client, run_id, home, tags)
        new = promotion.Contender(
            version=version,
            data_fingerprint=team.data.data_fingerprint,
            classes=team.search.classes,
            synthetic=team.data.synthetic,
            optimistic=held.optimistic,
            held_out=evidence,
            test=on_test,
            verdict=verdict,
        )
        to_best = (test.difference, *test.difference_interval)
        beside = promotion.BesideBest(row.fpr_normal, single.fpr_normal, to_best)
        promoted, why = promotion.promote(client, team.task.name, settings.promote, new, beside)
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
    return Delivery(digest, test, uri, promoted, why, verdict)


def _write(
    folder: Path,
    finalists: Finalists,
    team: MemberTrainer,
    points: Sequence[OperatingPoint],
    triage: Triage | None,
) -> None:
    combination, segmenter, shape = finalists.combinations[0], finalists.segmenter, None
    used = [finalists.members[position] for position in combination.members]
    if segmenter and combination.stack is not None and combination.stack.uses_shape:
        used.append(segmenter.member)
        shape = Sources(segmenter.combination, _sources([segmenter.member]), segmenter.member.size)
    data = team.data
    # Not the training images alone: one fold of them, at least, chose epoch and configuration.
    rows = np.flatnonzero(np.isin(data.groups, data.groups[data.split != manifest.TEST]))
    hashes = image_hashes(data, team.search.cache, rows)
    write(
        folder,
        Sources(combination, _sources(finalists.members), max(member.size for member in finalists.members), shape),
        keep_aspect=data.keep_aspect,
        synthetic=data.synthetic,
        tta=team.tta,
        operating_points=[point.model_dump() for point in points],
        triage=triage,
        learnt_from=LearntFrom(hashes, team.search.duplicate_distance),
        encoder_weights=[member.encoder_weights for member in used if member.encoder_weights],
    )


def _results(
    row: CombinerResult,
    held: OutOfFoldPredictions,
    test: TestResult,
    on_test: StoredPredictions,
    team: MemberTrainer,
    verdict: Verdict,
) -> OwnResults:
    labels = on_test.labels.tolist()
    counts = {name: labels.count(index) for index, name in enumerate(CLASSES)} | {"unknown": labels.count(UNKNOWN)}
    assert row.score is not None
    assert row.standard_error is not None
    return OwnResults(
        data_fingerprint=team.data.data_fingerprint,
        synthetic=team.data.synthetic,
        combiner=row.name,
        members=tuple(row.members),
        held_out=OwnHeldOut(
            metric=test.metric,
            value=row.score,
            standard_error=row.standard_error,
            images=int(held.compared.sum()),
            optimistic=held.optimistic,
        ),
        test=OwnTest.model_validate(test.model_dump()),
        test_images=counts,
        verdict=verdict,
    )


def _sources(members: Sequence[Member]) -> list[MemberCheckpoints]:
    return [MemberCheckpoints(i, member.name, list(member.checkpoints.values())) for i, member in enumerate(members)]
