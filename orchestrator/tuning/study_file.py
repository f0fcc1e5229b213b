"""The file of an Optuna study: a line a change, and one write for all that belong together."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

from optuna.storages.journal import JournalFileBackend


class StudyFile(JournalFileBackend):
    """Optuna's own journal, whose lines can be written together.

    Optuna brings each line to the disk on its own: one for each parameter that is drawn, which is a dozen for a trial.
    On a fleet that is what a free slot waits for. Only the process that holds the search writes to its study.
    """

    def __init__(self, file_path: str) -> None:
        super().__init__(file_path)
        self._waiting: list[dict[str, Any]] | None = None
        self._lines = 0  # in the file, as far as it was read

    @contextmanager
    def together(self) -> Iterator[None]:
        """What is appended in this block reaches the disk at its end, whole."""
        self._waiting = []
        try:
            yield
        finally:
            waiting, self._waiting = self._waiting, None
            if waiting:
                super().append_logs(waiting)
                for _ in self.read_logs(self._lines):  # else the next read looks for its place from the first line on
                    pass

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """As Optuna calls it."""
        if self._waiting is None:
            super().append_logs(logs)
        else:
            self._waiting += json.loads(json.dumps(logs))  # as they will be read from the file

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        """As Optuna calls it: from this line on."""
        if self._waiting is not None and log_number_from >= self._lines:
            yield from self._waiting[log_number_from - self._lines :]
            return
        for number, line in enumerate(super().read_logs(log_number_from), log_number_from + 1):
            self._lines = max(self._lines, number)
            yield line
        yield from self._waiting or ()
