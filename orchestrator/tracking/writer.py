"""The thread that writes notes to MLflow: one batch a run, tried again while the store does not answer."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Param, Run, RunTag
from PIL import Image

from orchestrator.common.errors import first_line
from orchestrator.config.types import TrackingError
from orchestrator.tracking.client import quote
from orchestrator.tracking.outages import may_pass
from orchestrator.tracking.pending import PendingWrites, Picture, RunState, add

log = logging.getLogger(__name__)

PARENT = ""  # the key of the search's own run; trials go by their trial id
LONGEST_PAUSE = 2.0  # seconds between two attempts
CALL = 30.0  # seconds that one call may take
REST = 1.0  # seconds between two rounds of writing: what comes meanwhile goes into one batch
WARN_AFTER = 60.0  # seconds without an answer
DESCRIBE = 60.0  # seconds between two descriptions of the experiment while trials end

#: Brings an experiment's description up to date; see `description.update`.
Describe = Callable[[MlflowClient, str], None]


class Writer:
    """Takes notes from any thread, in microseconds, and writes them from its own.

    Notes that the store cannot take now are kept, in order, until it can; those that it will never take (a bad name, a
    deleted run) are reported and dropped. So the thread does not die, and one bad value stops nothing.

    Args:
        store: what a user calls it.
        describe: brings the experiment's description up to date, given client and experiment.
    """

    def __init__(self, client: MlflowClient, experiment_id: str, store: str, describe: Describe | None) -> None:
        self._client, self._experiment_id, self._store, self._description = client, experiment_id, store, describe
        self.lag = 0.0  # largest, seconds
        self.last_error = ""
        self.unwritten = set[Path]()  # files of pictures
        self._changed = threading.Condition()  # guards the attributes below
        self._notes: dict[str, PendingWrites] = {}
        self._runs: dict[str, RunState] = {}
        self._refused: set[str] = set()
        self._failing_since: float | None = None
        self._deadline: float | None = None
        self._warned = False
        self._answered = 0.0  # when the store took something last
        self._search_id = ""  # from here on the thread's own
        self._new, self._tried = False, set[str]()  # whether it made the search's run, and which others it tried to
        self._pictures: list[tuple[str, Picture]] = []
        self._ranked, self._described = True, -math.inf  # whether it is as of now, and when it was written
        self._thread = threading.Thread(target=self._loop, name="mlflow-writer", daemon=True)
        self._thread.start()

    def note(self, key: str, notes: PendingWrites) -> None:
        """Have `notes` written to the run of `key`."""
        with self._changed:
            add(self._notes, key, notes)
            self.unwritten |= {picture.file for picture in notes.pictures}
            self._changed.notify_all()

    def run(self, key: str, wait: float = 0.0) -> RunState | None:
        """The run of `key`, waiting up to `wait` seconds for it."""
        with self._changed:
            self._changed.wait_for(lambda: key in self._runs or key in self._refused, wait)
            return self._runs.get(key)

    def trials(self, search_id: str) -> dict[str, Run]:
        """Each trial's run of a search, by trial id; asked in the caller's thread."""
        found = self._ask(f"tags.kind = 'trial' and tags.search_id = {quote(search_id)}")
        return {trial_id: run for run in found if (trial_id := run.data.tags.get("trial_id"))}

    def finished(self, kind: str) -> set[str]:
        """The trial ids of all FINISHED runs of a kind; asked in the caller's thread."""
        found = self._ask(f"tags.kind = {quote(kind)} and attributes.status = 'FINISHED'")
        return {trial_id for run in found if (trial_id := run.data.tags.get("trial_id"))}

    def _ask(self, condition: str) -> list[Run]:
        try:
            return self._find(condition)
        except Exception as error:
            raise TrackingError(f"no answer from {self._store} ({first_line(error)})") from error

    def close(self, patience: float) -> bool:
        """Write what waits, set the runs of this search that are still RUNNING to KILLED, and end the thread.

        Returns:
            Whether all of it is written that the store takes; what it refused has been told.
        """
        with self._changed:
            if self._deadline is not None:
                return not self._failing_since
            self._answered = time.monotonic()
            self._deadline = self._answered + patience
            self._changed.notify_all()
        # The ends of thousands of runs take minutes, which a store that answers is given; one call may take long, too.
        while self._thread.is_alive() and time.monotonic() < self._answered + patience + CALL:
            self._thread.join(1.0)
        if self._thread.is_alive() or self._failing_since:
            left = f"what {len(self._notes)} run(s) still had to write, and {len(self._pictures)} picture(s)"
            lost = f"{left} are not in MLflow, and runs may be left RUNNING"
            log.warning("%s does not answer (%s): %s", self._store, self.last_error, lost)
            return False
        return True

    # Below here: the thread itself.

    def _loop(self) -> None:
        pause = 0.0
        while True:
            time.sleep(pause)
            with self._changed:
                self._changed.wait_for(lambda: self._notes or self._pictures or self._deadline is not None)
                taken, self._notes = self._notes, {}
                deadline = self._deadline
            try:
                while taken:
                    key = next(iter(taken))
                    self._write(key, taken[key])
                    self._answered = time.monotonic()
                    self.lag = max(self.lag, self._answered - taken.pop(key).since)
                if deadline is not None:
                    self._kill_running()
                self._describe(at_once=deadline is not None)
                while self._pictures:  # last, so that an artifact store that fails holds up nothing else
                    self._picture(*self._pictures[0])
                    self._pictures.pop(0)
            except Exception as error:
                pause = min(2 * pause or 0.1, LONGEST_PAUSE)
                self._pictures = self._pictures[1:] + self._pictures[:1]  # one that fails holds up no other
                self._keep(taken, error)
                ended = deadline is not None and time.monotonic() > deadline
            else:
                pause, self._failing_since, self._warned = 0.0, None, False
                ended = deadline is not None
                with self._changed:
                    self._changed.wait_for(lambda: self._deadline is not None, REST)
            if ended:
                return

    def _keep(self, left: dict[str, PendingWrites], error: Exception) -> None:
        """Put back what could not be written, before what has come since."""
        with self._changed:
            later, self._notes = self._notes, left
            for key, notes in later.items():
                add(left, key, notes)
            self._failing_since = self._failing_since or time.monotonic()
            self.last_error = first_line(error)
            self._changed.notify_all()
        if not self._warned and time.monotonic() - self._failing_since > WARN_AFTER:
            self._warned = True
            log.warning("%s does not answer (%s): trying on, nothing is lost yet", self._store, self.last_error)

    def _write(self, key: str, notes: PendingWrites) -> None:
        """Write one run's notes. Raises what may pass; reports and drops what the store will never take."""
        if key in self._refused:
            return
        known = key in self._runs
        if not known and not self._attempt(key, "a run", lambda: self._open(key, notes)):
            with self._changed:
                self._refused.add(key)
                self._changed.notify_all()
            return
        run = self._runs[key]
        steps = dict(run.steps)
        metrics = []
        for point in notes.metrics:
            if point.step > steps.get(point.key, -1):
                steps[point.key] = point.step
                metrics.append(point)
        params = [Param(name, value) for name, value in notes.params.items() if name not in run.params]
        tags = [RunTag(name, value) for name, value in notes.tags.items() if run.tags.get(name) != value]
        self._attempt(key, "a batch", lambda: self._client.log_batch(run.run_id, metrics, params, tags))
        run.steps, run.params, run.tags = steps, run.params | notes.params.keys(), run.tags | notes.tags
        if notes.data and not run.data:
            self._attempt(key, "the data", lambda: self._client.log_inputs(run.run_id, notes.data))
            run.data = True
        self._pictures += [(key, picture) for picture in notes.pictures]
        notes.pictures = []  # handed over: these notes may come back if the next call fails
        if notes.status == "RUNNING" and known:
            self._attempt(key, "a status", lambda: self._client.update_run(run.run_id, "RUNNING"))
        elif notes.status not in ("", "RUNNING"):
            end = (run.run_id, notes.status, notes.status_at)
            self._attempt(key, "a status", lambda: self._client.set_terminated(*end))
        if notes.status and (key == PARENT or notes.status != "RUNNING"):
            self._ranked, self._described = False, -math.inf if key == PARENT else self._described

    def _attempt(self, key: str, what: str, call: Callable[[], object]) -> bool:
        try:
            call()
        except Exception as error:
            if may_pass(error):
                raise
            self.last_error = first_line(error)
            log.warning("MLflow refuses %s of %s: %s", what, key or "the search", self.last_error)
            return False
        return True

    def _describe(self, *, at_once: bool) -> None:
        """Bring the experiment's description up to date, if that is due; it is not worth a second attempt."""
        now = time.monotonic()
        if self._description is None or self._ranked or not (at_once or now - self._described > DESCRIBE):
            return
        self._ranked = True
        try:
            self._description(self._client, self._experiment_id)
        except Exception as error:
            log.info("the experiment's description stays as it was: %s", first_line(error))
        self._described = time.monotonic()

    def _picture(self, key: str, picture: Picture) -> None:
        file, folder, step = picture
        run_id = self._runs[key].run_id

        def written() -> None:
            self._client.log_artifact(run_id, str(file), folder)
            if step is not None:
                with Image.open(file) as image:
                    image.load()
                    self._client.log_image(run_id, image, key=f"{folder}/{file.stem}", step=step, synchronous=True)

        if not file.is_file():
            log.warning("the picture %s is gone before it reached MLflow", file)
        elif self._attempt(key, file.name, written):
            self.unwritten.discard(file)

    def _open(self, key: str, notes: PendingWrites) -> None:
        """Find the run by its tags, or create it. Looking first keeps it one run, also when an answer got lost.

        Runs of a search that this thread has begun are not looked for before it has tried to create them: among
        thousands of runs that takes the store longer than all else.
        """
        if "search_id" not in notes.tags:
            raise ValueError("it was never started")
        self._search_id = notes.tags["search_id"]
        own = ("kind", "search_id") if key == PARENT else ("kind", "search_id", "trial_id")
        condition = " and ".join(f"tags.{tag} = {quote(notes.tags[tag])}" for tag in own)
        found = [] if self._new and key not in self._tried else self._find(condition)
        self._tried.add(key)
        if found:
            run = found[0]
            if notes.status == "RUNNING":
                self._client.update_run(run.info.run_id, "RUNNING")
            histories = {name: self._client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
            steps = {name: max((point.step for point in points), default=-1) for name, points in histories.items()}
            has_data = bool(run.inputs and run.inputs.dataset_inputs)
            written = RunState(run.info.run_id, steps, set(run.data.params), has_data, dict(run.data.tags))
        else:
            nested = {} if key == PARENT else {"mlflow.parentRunId": self._runs[PARENT].run_id}
            run = self._client.create_run(self._experiment_id, notes.started, {**notes.tags, **nested}, notes.name)
            written = RunState(run.info.run_id, tags=dict(notes.tags))
            self._new = self._new or key == PARENT
        with self._changed:
            self._runs[key] = written
            self._changed.notify_all()

    def _find(self, condition: str) -> list[Run]:
        runs, token = list[Run](), None
        while not runs or token:
            order = ["attributes.start_time ASC"]
            page = self._client.search_runs([self._experiment_id], condition, order_by=order, page_token=token)
            runs += page
            token = page.token
            if not page:
                break
        return runs

    def _kill_running(self) -> None:
        running = f"attributes.status = 'RUNNING' and tags.search_id = {quote(self._search_id)}"
        while self._search_id and (left := self._find(running)):
            for run in left:
                self._client.set_terminated(run.info.run_id, "KILLED")
