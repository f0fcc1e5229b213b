"""Hosts that share nothing but a bucket, each with a working copy of one search."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from orchestrator.common.console import shown_on
from orchestrator.storage.mirror import mirrored
from orchestrator.storage.run_folder import RunFolder
from orchestrator.storage.storage import Storage
from orchestrator.tuning.identity import Identity
from orchestrator.tuning.ledger import Ledger

if TYPE_CHECKING:
    from tests.support.s3_server import Bucket

CONFIG = {"architecture": "unet", "encoder": "", "recipe": "", "epochs": 4}


def wait(condition: Callable[[], object]) -> None:
    """Until something is true."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "waited for 30 s"
        time.sleep(0.02)


class Host:
    """A host with a working copy of its own.

    Attributes:
        folder: of the search "one". said: what it printed.
    """

    def __init__(self, bucket: Bucket, folder: Path) -> None:
        self.storage = Storage(folder / "runs", f"{bucket.uri}/runs")
        self.folder, self.said = self.storage.home / "one", io.StringIO()
        self.console = Console(file=self.said, width=300)

    def begin(self) -> Ledger:
        """A new search, as far as its first trial."""
        self.folder.mkdir(parents=True)
        RunFolder(self.folder).settings.write_text("name: one\ntask: seg\n")
        ledger = Ledger(self.folder)
        ledger.launch(Identity(id="x"), 0)
        self.ask(ledger, "a")
        return ledger

    def ask(self, ledger: Ledger, trial: str) -> None:
        """A trial; the study knows of it before the ledger does."""
        with (self.folder / "study.journal").open("a") as study:
            study.write(f"{trial}\n")
        ledger.add("asked", trial, number=len(ledger.trials) + 1, study_number=len(ledger.trials), config=CONFIG)

    def send(self) -> None:
        """As at the end of a search."""
        with shown_on(self.console), mirrored(self.storage, self.folder):
            pass

    def goes_on(self, *trials: str) -> None:
        """A launch that asks for trials, and ends."""
        ledger = Ledger(self.folder)
        ledger.launch(Identity(), 0)
        for trial in trials:
            self.ask(ledger, trial)
        self.send()
        ledger.close()

    def trials(self) -> list[str]:
        return list(Ledger(self.folder, hold=False).trials)
