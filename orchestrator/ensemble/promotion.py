"""Who may become the champion, and how often test images were looked at."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from orchestrator.config.types import TrackingError, short_source
from orchestrator.inference import mlflow_model
from orchestrator.scoring.predictions import HELD_OUT, TEST, StoredPredictions
from orchestrator.scoring.verdict import Verdict
from orchestrator.tracking.client import quote
from orchestrator.tracking.ranking import experiments, runs_of
from orchestrator.tracking.registry import CHAMPION, champion, describe, model_name
from trainables import unfinished

#: A tag of an ensemble's run for each winner whose test images were scored.
SCORED = "test_scored."
#: By how much more often than the best single a champion may see a lesion in a normal image.
MORE_ALARMS = 0.05


def times_scored(client: MlflowClient, data_fingerprint: str) -> int:
    """How many winners were scored on the test images of these data, over all ensembles in the store.

    What was deleted counts, too: a look is not taken back with its run, nor with its experiment.
    """
    condition = f"tags.kind = 'ensemble' and tags.data_fingerprint = {quote(data_fingerprint)}"
    ids = [experiment.experiment_id for experiment in experiments(client, deleted=True)]
    tags = {tag for run in runs_of(client, ids, condition, deleted=True) for tag in run.data.tags}
    return sum(tag.startswith(SCORED) for tag in tags)


@dataclass(frozen=True)
class Contender:
    """A version of the registered model, and what it may be judged by.

    Attributes:
        data_fingerprint, classes, synthetic: of what it was trained on.
        optimistic: its predictions are of the fold that chose epoch and configuration.
        held_out, test: its predictions; None where they cannot be read.
        verdict: what it may be called; None of a standing one, which is judged by what it was promoted for.
    """

    version: str
    data_fingerprint: str
    classes: int
    synthetic: bool
    optimistic: bool
    held_out: StoredPredictions | None
    test: StoredPredictions | None
    verdict: Verdict | None = None

    @classmethod
    def standing(cls, client: MlflowClient, found: ModelVersion) -> Contender:
        """A version in the registry, by its tags and artifacts."""
        tags, kept = found.tags, tuple[StoredPredictions, ...]()
        # What cannot be read is told by the verdict.
        unreadable = suppress(MlflowException, OSError, TrackingError, ValueError, KeyError)
        with tempfile.TemporaryDirectory() as scratch, unreadable:
            if found.run_id:
                folder = client.download_artifacts(found.run_id, f"predictions-{tags.get('digest')}", scratch)
                kept = tuple(StoredPredictions.load(Path(folder) / name) for name in (HELD_OUT, TEST))
        return cls(
            version=str(found.version),
            data_fingerprint=tags.get("data_fingerprint", ""),
            classes=int(classes) if (classes := tags.get("classes", "")).isdecimal() else 0,
            synthetic=tags.get("synthetic") == "true",
            optimistic=tags.get("optimistic") == "true",
            held_out=kept[0] if kept else None,
            test=kept[1] if kept else None,
        )


@dataclass(frozen=True)
class BesideBest:
    """A winner beside the best single candidate.

    Attributes:
        alarms, alarms_of_best: `fpr_normal` of both; None where there are no normals.
        difference: by how much the winner is better on test images: (difference, low, high), 95 %.
    """

    alarms: float | None
    alarms_of_best: float | None
    difference: tuple[float, float, float]

    def against(self) -> str:
        """What speaks against the winner; "" if nothing does."""
        alarms, best = self.alarms, self.alarms_of_best
        if alarms is not None and best is not None and alarms > best + MORE_ALARMS:
            return (
                f"it sees a lesion in {alarms:.2f} of the normal images, the best single in {best:.2f}: more than "
                f"{MORE_ALARMS} above"
            )
        if self.difference[2] < 0:
            change = f"{self.difference[0]:+.3f}, 95 % up to {self.difference[2]:+.3f}"
            return f"it is worse than the best single on test images ({change})"
        return ""


def decision(task: str, mode: str, new: Contender, beside: BesideBest, champion: Contender | None) -> tuple[bool, str]:
    """Whether a new version becomes the champion, and why. One below the floor does so where it is told to alone.

    Args:
        mode: never, auto, always. champion: the standing one.
    """
    below = new.verdict if new.verdict and not new.verdict.clears_the_floor else None
    if mode != "auto":
        return mode == "always", f"--promote {mode}" + (f", though it is {below.word}" if below else "")
    if below:
        return False, f"it is {below.line}"
    if against := beside.against():
        return False, against
    if champion is None:
        return True, "there was no champion"
    name = f"the champion (version {champion.version})"
    if champion.synthetic and not new.synthetic:
        return True, f"{name} was trained on synthetic data"
    if (champion.data_fingerprint, champion.classes) != (new.data_fingerprint, new.classes):
        return False, f"{name} was trained on other data or classes and cannot be compared; --promote always moves it"
    if new.optimistic or champion.optimistic:
        return False, f"it cannot be compared with {name} without out-of-fold predictions; --promote always moves it"
    if champion.held_out is None or champion.test is None or new.held_out is None or new.test is None:
        return False, f"the predictions of {name} cannot be read; --promote always moves it"
    gain = new.held_out.difference(champion.held_out, task)
    if gain is None or not gain[1] > 0:
        shown = f"{gain[0]:+.3f}, 95 % {gain[1]:+.3f} to {gain[2]:+.3f}" if gain else "no image in common"
        return False, f"it is not clearly better than {name} on held-out images ({shown})"
    veto = new.test.difference(champion.test, task)
    if veto is not None and veto[2] < 0:
        return False, f"it is worse than {name} on test images ({veto[0]:+.3f}, 95 % up to {veto[2]:+.3f})"
    return True, f"it is better than {name} on held-out images ({gain[0]:+.3f}, 95 % from {gain[1]:+.3f})"


def promote(client: MlflowClient, task: str, mode: str, new: Contender, beside: BesideBest) -> tuple[bool, str]:
    """Make a new version the champion if `decision` says so; whether it is, and why."""
    found = champion(client, task)
    if found is not None and str(found.version) == new.version:
        return True, "it is the champion already"
    promoted, why = decision(task, mode, new, beside, Contender.standing(client, found) if found else None)
    if promoted:
        client.set_registered_model_alias(model_name(task), CHAMPION, new.version)
    describe(client, task)
    return promoted, why


def register(client: MlflowClient, run_id: str, home: Path, tags: dict[str, str]) -> tuple[str, str]:
    """The version of the registered model that this winner is, made unless it is there; and its address."""
    name = model_name(tags["task"])
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    same = [one for one in client.search_model_versions(f"name='{name}'") if one.tags.get("digest") == tags["digest"]]
    synthetic = "SYNTHETIC data. " if tags["synthetic"] == "true" else ""
    words = f"{synthetic}Verdict: {tags['because']}. "
    words += f"{tags['combiner']} of {tags['members']}. Test: {tags['test']}. "
    words += f"Held out: {tags['held_out']}. "
    words += f"It lacks {tags['lacks']}. " if tags["lacks"] else ""
    words += f"Data: {short_source(tags['data_source'])} ({tags['data_fingerprint'][:12]}). Not a medical device."
    if same:
        version = str(same[0].version)
        client.update_model_version(name, version, words)  # what it lacked it may have by now
        client.set_model_version_tag(name, version, "lacks", tags["lacks"])
    else:
        with unfinished.beside(home / "model") as saved:
            mlflow_model.save(saved, home / "ensemble")
            source = mlflow_model.log(client, run_id, saved, f"model-{tags['digest']}")
        for file in (HELD_OUT, TEST):
            client.log_artifact(run_id, str(home / file), f"predictions-{tags['digest']}")
        version = str(client.create_model_version(name, source, run_id, tags=tags, description=words).version)
    return version, f"models:/{name}/{version}"
