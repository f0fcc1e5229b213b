"""Who may become the champion, and how often test images were looked at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from orchestrator.ensemble.bootstrap import paired_interval
from orchestrator.ensemble.scored import Scored
from orchestrator.ranking import experiments, runs_of
from orchestrator.store import quote

#: A tag of an ensemble's run for each winner whose test images were scored.
SCORED = "test_scored."
#: By how much more often than the best single a champion may see a lesion in a normal image.
MORE_ALARMS = 0.05
HELD_OUT, TEST = "held-out.npz", "test.npz"


@dataclass(frozen=True)
class Evidence:
    """Stored predictions: those that combiners were compared by, or of the test images.

    Attributes:
        scored: N predictions. digests: of the N images. groups, labels: int64 [N].
    """

    scored: Scored
    digests: tuple[str, ...]
    groups: np.ndarray
    labels: np.ndarray

    def arrays(self) -> dict[str, np.ndarray]:
        """All of it as plain arrays."""
        scored = {name: array for name, array in vars(self.scored).items() if array is not None}
        return {"groups": self.groups, "labels": self.labels, "digests": np.array(self.digests), **scored}

    @classmethod
    def load(cls, file: Path) -> Evidence:
        """From a file of `arrays`, whatever else is in it.

        Raises:
            OSError, ValueError: it cannot be read.
        """
        with np.load(file) as found:
            names = ("probabilities", "targets", "counts", "has_mask")
            scored = Scored(*(found.get(name) for name in names))
            return cls(scored, tuple(found["digests"].tolist()), found["groups"], found["labels"])

    def difference(self, other: Evidence, task: str) -> tuple[float, float, float] | None:
        """By how much this is better on the images of both: (difference, low, high), 95 %; None without such images."""
        place = {digest: row for row, digest in enumerate(other.digests)}
        mine = np.array([row for row, digest in enumerate(self.digests) if digest in place], np.int64)
        if not len(mine):
            return None
        its = np.array([place[self.digests[row]] for row in mine])
        a, b = self.scored.take(mine), other.scored.take(its)
        return paired_interval(task, a, b, self.groups[mine], self.labels[mine])


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
    held_out: Evidence,
    test: Evidence,
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
    gain = held_out.difference(Evidence.load(stored / HELD_OUT), task)
    if gain is None or not gain[1] > 0:
        shown = f"{gain[0]:+.3f}, 95 % {gain[1]:+.3f} to {gain[2]:+.3f}" if gain else "no image in common"
        return False, f"it is not clearly better than {name} on held-out images ({shown})"
    veto = test.difference(Evidence.load(stored / TEST), task)
    if veto is not None and veto[2] < 0:
        return False, f"it is worse than {name} on test images ({veto[0]:+.3f}, 95 % up to {veto[2]:+.3f})"
    return True, f"it is better than {name} on held-out images ({gain[0]:+.3f}, 95 % from {gain[1]:+.3f})"
