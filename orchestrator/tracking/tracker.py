"""MLflow, written by one thread on the driver: a trial never waits for the tracking store."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from mlflow.entities import Dataset, Metric

from orchestrator.config.types import TrackingError, shown_uri, tracking_uri
from orchestrator.tracking.client import ensure_experiment, open_store
from orchestrator.tracking.datasets import dataset_input
from orchestrator.tracking.orphans import close_stale
from orchestrator.tracking.pending import PendingWrites, Picture, now_ms
from orchestrator.tracking.ranking import epochs
from orchestrator.tracking.writer import PARENT, Describe, Writer

PATIENCE = 30.0  # seconds that start_search and close keep trying
PARAM_LENGTH = 6000  # MLflow's limit for a parameter's value


def flat(params: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    """Nested settings as MLflow parameters: `{"loss": {"name": "dice"}}` becomes `{"loss.name": "dice"}`."""
    out: dict[str, str] = {}
    for key, value in params.items():
        if isinstance(value, dict):
            out |= flat(value, f"{prefix}{key}.")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            out[f"{prefix}{key}"] = text[:PARAM_LENGTH]
    return out


class Tracker:
    """The one writer of a search's runs: a parent run (`kind` = search) with one child per trial (`kind` = trial).

    Calls only take notes; `start_search` alone waits for the store. It comes before any other call.

    Args:
        uri: MLflow tracking URI; a relative `sqlite:///` path is taken from the working directory.
        experiment: created if absent.
        artifact_root: folder or URI for pictures; by default `mlartifacts/` beside the database, or the server's own.
        tags: tags of the experiment.
        describe: keeps the experiment's description up to date.

    Raises:
        TrackingError: the store cannot be opened or reached.
    """

    def __init__(
        self,
        uri: str,
        experiment: str,
        artifact_root: str | None = None,
        tags: Mapping[str, str] | None = None,
        describe: Describe | None = None,
    ) -> None:
        self.uri = tracking_uri(uri)
        client = open_store(self.uri, create=True)
        self.experiment_id = ensure_experiment(client, self.uri, experiment, artifact_root)
        for name, value in (tags or {}).items():
            client.set_experiment_tag(self.experiment_id, name, value)
        close_stale(client, self.experiment_id)
        self._writer = Writer(client, self.experiment_id, shown_uri(self.uri), describe)
        self._search = self._id = ""
        self._launch = 0
        self._data: Dataset | None = None
        self._earlier: dict[str, str] = {}  # trial id -> run id, of earlier launches

    def start_search(
        self,
        name: str,
        params: Mapping[str, object],
        tags: dict[str, str],
        search_id: str = "",
        kind: str = "search",
        data: Dataset | None = None,
    ) -> str:
        """Create the parent run, or reopen the one of this search. Returns its MLflow run id.

        `search_id` tells searches of the same name apart; by default the name does. A reopened run, of a search or of a
        trial, keeps the parameters of its first launch: MLflow never changes them. `kind`: search, or ensemble. `data`:
        the input of this run and of those below it.

        Raises:
            TrackingError: the run could not be created within `PATIENCE` seconds.
        """
        self._search, self._id = name, search_id or name
        own = {"kind": kind, "search": name, "search_id": self._id}
        self._data = data
        self._begin(PARENT, kind, name, params, {**tags, **own})
        run = self._writer.run(PARENT, PATIENCE)
        if run is None:
            where, why = shown_uri(self.uri), self._writer.last_error or "no answer"
            raise TrackingError(f"the run of search {name} cannot be created in {where} ({why})")
        self._launch = max(run.steps.values(), default=-1) + 1
        return run.run_id

    def start_trial(
        self, trial_id: str, name: str, params: Mapping[str, object], tags: dict[str, str], kind: str = "trial"
    ) -> None:
        """Note that the trial's run is to be created under the parent, or the one it has reopened.

        `kind`: trial, or the fold or boost of an ensemble.
        """
        own = {"kind": kind, "search": self._search, "search_id": self._id, "trial_id": trial_id}
        self._begin(trial_id, kind, name, params, {**tags, **own})

    def _begin(self, key: str, kind: str, name: str, params: Mapping[str, object], tags: dict[str, str]) -> None:
        data = [dataset_input(self._data, kind)] if self._data else []
        self._writer.note(key, PendingWrites(name=name, params=flat(params), tags=tags, data=data, status="RUNNING"))

    def run_id(self, trial_id: str) -> str:
        """The trial's MLflow run id, "" while it has none."""
        run = self._writer.run(trial_id)
        return run.run_id if run else self._earlier.get(trial_id, "")

    def written(self) -> dict[str, int]:
        """The epochs that each closed run holds, by trial id; of a trial that has no more, MLflow has all.

        A trial that was interrupted, or never closed, is left out.

        Raises:
            TrackingError: the store does not answer.
        """
        runs = self._writer.trials(self._id)
        self._earlier = {trial_id: run.info.run_id for trial_id, run in runs.items()}
        closed = {trial_id: run for trial_id, run in runs.items() if run.info.status in ("FINISHED", "FAILED")}
        return {trial_id: epochs(run) for trial_id, run in closed.items()}

    def finished(self, kind: str) -> set[str]:
        """The ids of all trials, folds or boosts of this experiment whose runs are FINISHED, of whatever search.

        Raises:
            TrackingError: the store does not answer.
        """
        return self._writer.finished(kind)

    def adopt(self, trial_id: str) -> None:
        """Let pictures and metrics go to a run of an earlier launch, which stays as it ended."""
        if trial_id in self._earlier:
            own = {"kind": "trial", "search_id": self._id, "trial_id": trial_id}
            self._writer.note(trial_id, PendingWrites(tags=own))

    def log(self, trial_id: str, metrics: dict[str, float], step: int) -> None:
        """Note metrics at `step` (epochs done, from 1), and `epoch` itself. NaN and infinite values are dropped.

        Each (run, metric, step) is stored once: a step not above the metric's highest is ignored, also after a restart.
        """
        self._writer.note(trial_id, PendingWrites(metrics=_points({"epoch": step, **metrics}, step)))

    def log_picture(self, trial_id: str, file: Path, artifact_path: str, step: int | None = None) -> None:
        """Note a picture, to be copied into `artifact_path` of the run's artifacts. The file must stay to the end.

        With a step it is an image of that key and step, too, so that the UI shows those of several runs side by side.
        """
        self._writer.note(trial_id, PendingWrites(pictures=[Picture(file, artifact_path, step)]))

    def end_trial(self, trial_id: str, status: str, tags: dict[str, str]) -> None:
        """Note the end of a trial: FINISHED, FAILED or KILLED."""
        self._writer.note(trial_id, PendingWrites(tags=dict(tags), status=status))

    def end_search(self, status: str, metrics: dict[str, float], tags: dict[str, str]) -> None:
        """Note the end of the search. Its metrics' step counts launches, so a resumed search adds its own."""
        self._writer.note(PARENT, PendingWrites(metrics=_points(metrics, self._launch), tags=dict(tags), status=status))

    @property
    def lag(self) -> float:
        """The largest time so far between a call and its writing, in seconds."""
        return self._writer.lag

    @property
    def unwritten(self) -> set[Path]:
        """The pictures that are not in the store: they wait, or it has refused them."""
        return self._writer.unwritten

    def close(self) -> bool:
        """Write what waits and set every run of this search that is still RUNNING to KILLED.

        Returns:
            Whether all of it is written that the store takes; what it refused has been told.
        """
        return self._writer.close(PATIENCE)


def _points(metrics: dict[str, float], step: int) -> list[Metric]:
    # The call's own time: MLflow ignores an identical point, so a write whose answer got lost can be repeated.
    now = now_ms()
    return [Metric(key, float(value), now, step) for key, value in metrics.items() if math.isfinite(value)]
