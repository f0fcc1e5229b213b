"""Who may become the champion, and how often test images were looked at."""

from __future__ import annotations

import tempfile
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from orchestrator.config.ensemble import EnsembleSettings
from orchestrator.config.types import TrackingError
from orchestrator.ensemble.members import MemberTrainer
from orchestrator.ensemble.selection import CombinerResult
from orchestrator.inference import mlflow_model
from orchestrator.scoring.predictions import HELD_OUT, TEST, StoredPredictions
from orchestrator.tracking import registry as champions
from orchestrator.tracking.client import quote
from orchestrator.tracking.ranking import experiments, runs_of

#: A tag of an ensemble's run for each winner whose test images were scored.
SCORED = "test_scored."
#: By how much more often than the best single a champion may see a lesion in a normal image.
MORE_ALARMS = 0.05


def times_scored(client: MlflowClient, data_fingerprint: str) -> int:
    """How many winners were scored on the test images of these data, over all ensembles in the store."""
    condition = f"tags.kind = 'ensemble' and tags.data_fingerprint = {quote(data_fingerprint)}"
    ids = [experiment.experiment_id for experiment in experiments(client)]
    tags = {tag for run in runs_of(client, ids, condition) for tag in run.data.tags}
    return sum(tag.startswith(SCORED) for tag in tags)


def verdict(
    task: str,
    mode: str,
    *,
    alarms: float | None,
    alarms_of_best: float | None,
    synthetic: bool,
    data_fingerprint: str,
    classes: int,
    optimistic: bool,
    held_out: StoredPredictions,
    test: StoredPredictions,
    test_to_best: tuple[float, float, float],
    standing: ModelVersion | None,
    stored: Path | None,
) -> tuple[bool, str]:
    """Whether a new version becomes the champion, and why.

    Args:
        mode: never, auto, always.
        alarms, alarms_of_best: `fpr_normal` of the winner and of the best single; None where there are no normals.
        synthetic, data_fingerprint, classes: what the new version was trained on.
        optimistic: its predictions are of the fold that chose epoch and configuration.
        held_out, test: its predictions.
        test_to_best: by how much it is better on test images than the best single: (difference, low, high), 95 %.
        standing: the champion. stored: folder with its predictions, if they could be had.
    """
    if mode == "never":
        return False, "--promote never"
    if mode == "always":
        return True, "--promote always"
    if alarms is not None and alarms_of_best is not None and alarms > alarms_of_best + MORE_ALARMS:
        return False, (
            f"it sees a lesion in {alarms:.2f} of the normal images, the best single in {alarms_of_best:.2f}: more "
            f"than {MORE_ALARMS} above"
        )
    if test_to_best[2] < 0:
        change = f"{test_to_best[0]:+.3f}, 95 % up to {test_to_best[2]:+.3f}"
        return False, f"it is worse than the best single on test images ({change})"
    if standing is None:
        return True, "there was no champion"
    name = f"the champion (version {standing.version})"
    if standing.tags.get("synthetic") == "true" and not synthetic:
        return True, f"{name} was trained on synthetic data"
    if standing.tags.get("data_fingerprint") != data_fingerprint or standing.tags.get("classes") != str(classes):
        return False, f"{name} was trained on other data or classes and cannot be compared; --promote always moves it"
    if optimistic or standing.tags.get("optimistic") == "true":
        return False, f"it cannot be compared with {name} without out-of-fold predictions; --promote always moves it"
    if stored is None:
        return False, f"the predictions of {name} cannot be read; --promote always moves it"
    gain = held_out.difference(StoredPredictions.load(stored / HELD_OUT), task)
    if gain is None or not gain[1] > 0:
        shown = f"{gain[0]:+.3f}, 95 % {gain[1]:+.3f} to {gain[2]:+.3f}" if gain else "no image in common"
        return False, f"it is not clearly better than {name} on held-out images ({shown})"
    veto = test.difference(StoredPredictions.load(stored / TEST), task)
    if veto is not None and veto[2] < 0:
        return False, f"it is worse than {name} on test images ({veto[0]:+.3f}, 95 % up to {veto[2]:+.3f})"
    return True, f"it is better than {name} on held-out images ({gain[0]:+.3f}, 95 % from {gain[1]:+.3f})"


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
        for file in (HELD_OUT, TEST):
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
    row: CombinerResult,
    single: CombinerResult,
    evidence: StoredPredictions,
    test_to_best: tuple[float, float, float],
    team: MemberTrainer,
    settings: EnsembleSettings,
    home: Path,
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
        promoted, why = verdict(
            team.task.name,
            settings.promote,
            alarms=row.fpr_normal,
            alarms_of_best=single.fpr_normal,
            synthetic=team.data.synthetic,
            data_fingerprint=team.data.data_fingerprint,
            classes=team.search.classes,
            optimistic=not settings.out_of_fold,
            held_out=evidence,
            test=StoredPredictions.load(home / TEST),
            test_to_best=test_to_best,
            standing=standing,
            stored=kept,
        )
    if promoted:
        client.set_registered_model_alias(champions.model_name(team.task.name), champions.CHAMPION, version)
    return promoted, why
