"""What happened to every trial of a search, a line an event: written as it happens, read again by `--resume`."""

from __future__ import annotations

import errno
import json
import os
import socket
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.common.errors import UserError
from orchestrator.storage.run_folder import RunFolder, cut_torn_line
from orchestrator.storage.storage import Storage
from orchestrator.tuning.event import Event
from orchestrator.tuning.identity import Identity
from search_spaces import Config
from trainables import locks, stored
from trainables.gpu_meter import ENERGY
from trainables.stored import DamagedError

#: Bytes that a running search keeps for its last words on a full disk.
RESERVED = 1 << 18
#: Such a trial is not run again, unless it waits at a rung (asha) and is promoted; one that the budget or a person
#: stopped goes on when the search is resumed.
ENDED = ("completed", "asha", "early", "diverged", "failed")
#: Launches of a search in which a trial may die without a result, before it is taken for what kills the search.
FRUITLESS_LAUNCHES = 3


@dataclass
class TrialRecord:
    """One trial.

    Attributes:
        number: from 1, in the order of asking. study_number: its number in the Optuna study.
        epoch: epochs done and reported. result: the last result's metrics.
        checkpoint: the last complete checkpoint, relative to the search's folder; checkpoint_epoch: the epoch it was
            taken after.
        state: waiting, running, one of `ENDED`, budget or interrupted; reason: why it failed.
        ending: the state that its last result announced, "" while it goes on.
        promoted: it waits at a rung no more, and is yet to start again.
        began, stopped: the search's clock at its first start and last event, seconds.
        seconds: time in a slot. gpu_seconds: the same times its GPUs.
        watt_hours: of all epochs, also of those done again after a crash; None where no power is known.
    """

    trial_id: str
    number: int
    study_number: int
    config: Config
    epoch: int = 0
    result: dict[str, float] = field(default_factory=dict)
    checkpoint: str = ""
    checkpoint_epoch: int = 0
    state: str = "waiting"
    reason: str = ""
    ending: str = ""
    promoted: bool = False
    began: float | None = None
    stopped: float = 0.0
    seconds: float = 0.0
    gpu_seconds: float = 0.0
    watt_hours: float | None = None
    fruitless: int = 0

    @property
    def label(self) -> str:
        """A name by which a person tells trials apart."""
        architecture, encoder, recipe = (self.config[name] for name in ("architecture", "encoder", "recipe"))
        # A classifier is its own encoder, under the same or nearly the same name.
        same = encoder in architecture or architecture in encoder
        named = recipe and ("(recipe)" if recipe == architecture else f"({recipe})")
        return " ".join(part for part in (f"#{self.number}", architecture, "" if same else encoder, named) if part)

    @property
    def saved(self) -> bool:
        """Whether a checkpoint holds its best weights."""
        return bool(self.checkpoint) and self.checkpoint_epoch >= self.result.get("best/epoch", 0)

    @property
    def ended(self) -> bool:
        """Whether it is done; one that waits at a rung is, unless it is promoted."""
        return self.state in ENDED


class Ledger:
    """The file `trials.jsonl` of a search and the trials in it. One process at a time may hold it.

    `add` writes an event and applies it to the records; opening an existing file applies the events in it again, so
    the records after a crash are those before it. The clock counts seconds of all launches, not the time between.

    Args:
        folder: the search's folder.
        hold: be the one that writes; else only read what is there, whoever holds it.

    Attributes:
        identity: of the search; None before its first launch.
        full: the disk is; the reserve was given up for the last events.
        gpus: GPUs of each trial, by the latest launch.

    Raises:
        UserError: another process holds it, or a line of it is damaged.
        FileNotFoundError: there is none to read.
    """

    def __init__(self, folder: Path, *, hold: bool = True) -> None:
        self.trials: dict[str, TrialRecord] = {}
        self.identity: Identity | None = None
        self.launches = 0
        self.spent = 0.0  # seconds, by earlier launches
        self.gpus, self._holder = 0.0, ""
        self.folder, self.full = folder, False
        self._reserve = RunFolder(folder).reserve
        self._lock = locks.take(RunFolder(folder).lock) if hold else None
        self._file = RunFolder(folder).ledger.open("a+b" if self._lock else "rb", buffering=0)
        try:
            #: Events of earlier launches, oldest first.
            self.history = self._read()
        except DamagedError as error:
            self._let_go()
            raise UserError(
                f"{error}; the ledger is damaged: bring it back from a copy, or start another search"
            ) from None
        if self._lock is None:
            self._file.close()
            if not hold:
                return
            raise UserError(f"--resume {folder.name}: it is running already{self._holder}; wait for its end")
        cut_torn_line(RunFolder(folder).ledger)
        self._opened = time.monotonic()

    def clock(self) -> float:
        """Seconds that this search has run, over all its launches."""
        return self.spent + time.monotonic() - self._opened

    def launch(self, identity: Identity, gpus: float) -> None:
        """A process begins or resumes the search.

        Args:
            identity: what a resumed search must agree with; the first launch's stands.
            gpus: GPUs of each trial.
        """
        self._opened = time.monotonic()  # reading the data is not part of the search
        self._reserve.write_bytes(bytes(RESERVED))
        self.add("launch", identity=self.identity or identity, gpus=gpus, pid=os.getpid(), host=socket.gethostname())

    def add(self, event: str, trial: str = "", **values: Any) -> None:
        """Write an event, for good, and apply it.

        Raises:
            OSError: the disk is full, and so is the reserve; nothing half-written is left.
        """
        line: dict[str, Any] = {
            "event": event,
            **({"trial": trial} if trial else {}),
            **values,
            "clock": round(self.clock(), 3),
        }
        try:
            self._write(line)
        except OSError as error:
            if error.errno != errno.ENOSPC or not self._reserve.exists():
                raise
            self._reserve.unlink()
            self.full = True
            self._write(line)
        self._apply(Event(**line))

    def unfinished(self) -> list[TrialRecord]:
        """Trials that a resumed search goes on with, in the order of asking; those that were promoted come last."""
        found = [record for record in self.trials.values() if record.promoted or not record.ended]
        return sorted(found, key=lambda record: record.promoted)

    def settle(self, storage: Storage) -> None:
        """Write the end that a crash kept from being written: of trials with nothing left to do, or that do not live.

        A trial is done when its last result said so and its best weights are in a checkpoint, in `storage`.
        """
        for record in self.unfinished():
            self.check(record, storage)
            if record.ending in ENDED and record.saved and not record.promoted:
                self.add("ended", record.trial_id, state=record.ending, reason="")
            elif record.fruitless >= FRUITLESS_LAUNCHES:
                reason = f"the search died {record.fruitless} times while it ran, without a result"
                self.add("ended", record.trial_id, state="failed", reason=reason)

    def check(self, record: TrialRecord, storage: Storage) -> None:
        """Forget a checkpoint that was deleted, or lost in a power cut: its trial begins anew."""
        if record.checkpoint and not storage.is_whole(self.folder / record.checkpoint):
            self.add("checkpoint", record.trial_id, path="", epoch=0)

    def gpu_seconds(self) -> float:
        """GPU-seconds that trials have held."""
        now = self.clock()
        records = list(self.trials.values())  # the terminal's thread asks, too
        running = sum(now - record.stopped for record in records if record.state == "running")
        return sum(record.gpu_seconds for record in records) + running * self.gpus

    def close(self) -> None:
        """Let go of the search."""
        self._reserve.unlink(missing_ok=True)
        self._let_go()

    def _let_go(self) -> None:
        self._file.close()
        if self._lock:
            locks.release(self._lock)

    def _write(self, line: dict[str, object]) -> None:
        end = self._file.seek(0, os.SEEK_END)
        text = json.dumps(line, default=asdict).encode() + b"\n"
        try:
            if self._file.write(text) < len(text):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if line["event"] != "result":  # a power cut may cost results, which the trial reports again
                os.fsync(self._file.fileno())
        except OSError:
            self._file.truncate(end)
            raise

    def _read(self) -> list[Event]:
        self._file.seek(0)
        events = []
        for number, line in enumerate(self._file.read().split(b"\n")[:-1], 1):  # after the last break is half a line
            place = f"{RunFolder(self.folder).ledger}: line {number}"
            event = stored.parse(line, Event, place)
            if event.event == "launch" and event.identity is None:
                raise DamagedError(f"{place}: identity: is missing")
            if event.event == "asked" and not event.config:
                raise DamagedError(f"{place}: config: is missing")
            if event.event not in ("launch", "asked") and event.trial not in self.trials:
                raise DamagedError(f"{place}: trial: none of this id was asked for")
            self._apply(event)
            events.append(event)
        self.spent = events[-1].clock if events else 0.0
        return events

    def _apply(self, event: Event) -> None:
        kind, clock = event.event, event.clock
        if kind == "launch":
            self.identity, self.gpus = event.identity, event.gpus
            self._holder = f" (process {event.pid} on {event.host})"
            self.launches += 1
            for record in self.trials.values():
                if record.state == "running":
                    record.state, record.fruitless = "waiting", record.fruitless + 1
            return
        if kind == "asked":
            self.trials[event.trial] = TrialRecord(event.trial, event.number, event.study_number, event.config)
            return
        record = self.trials[event.trial]
        if record.state == "running":
            record.seconds += clock - record.stopped
            record.gpu_seconds += (clock - record.stopped) * self.gpus
        record.stopped = clock
        if kind == "started":
            record.state, record.ending, record.promoted = "running", "", False
            record.began = clock if record.began is None else record.began
        elif kind == "result":
            record.epoch, record.result, record.ending = event.epoch, event.metrics, event.ending
            record.fruitless = 0
            if ENERGY in event.metrics:
                record.watt_hours = (record.watt_hours or 0.0) + event.metrics[ENERGY]
        elif kind == "checkpoint":
            record.checkpoint, record.checkpoint_epoch = event.path, event.epoch
        elif kind == "ended":
            record.state, record.reason = event.state, event.reason
        elif kind == "promoted":
            record.promoted = record.state == "asha"  # else it goes on by itself, from before the rung
