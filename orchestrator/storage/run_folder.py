"""What lies below `runs/NAME`, and beside it in `runs/.cache`: each name once."""

from __future__ import annotations

import os
from pathlib import Path

from trainables import unfinished


class RunFolder:
    """The files and folders of one search; whoever writes them makes them.

    Attributes:
        settings, ledger, study, summary, faults, log: of the search.
        lock: held by the process at work, as ensemble_lock is by that of its ensemble.
        reserve: bytes that a running search keeps for its last words on a full disk.
        holder: under a URI, the process at work.
        pictures: a folder for each trial. tune: a folder for each launch, with checkpoints below its trials.
        folds: models of an ensemble's members for each fold. boost: members that it trained.
        ensemble, ensemble_lock, ensemble_log, ensemble_report: of its ensemble.
        segmenter: members of a segmentation ensemble, for those of other tasks.
        cache: shared by the searches beside each other; prepared data are in it.
        predictions: of checkpoints. winners: a folder for each combination that was scored, by digest.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.settings, self.summary, self.faults = path / "settings.yaml", path / "summary.json", path / "faults.txt"
        self.ledger, self.study, self.log = path / "trials.jsonl", path / "study.journal", path / "search.log"
        self.lock, self.reserve, self.holder = path / "lock", path / "reserve", path / "holder"
        self.pictures, self.tune, self.folds = path / "pictures", path / "tune", path / "folds"
        self.ensemble, self.ensemble_log = path / "ensemble", path / "ensemble.log"
        self.ensemble_report = path / "ensemble.json"
        self.boost, self.ensemble_lock = self.ensemble / "boost", self.ensemble / "lock"
        self.segmenter = self.ensemble / "members.json"
        self.cache = path.parent / ".cache"
        self.predictions, self.winners = self.cache / "predictions", self.cache / "winners"

    def sweep(self) -> None:
        """Delete what dead processes left half-written in these folders, and beside this search's."""
        some = (self.path.parent, self.path, self.pictures, self.ensemble, self.predictions)
        for folder in (*some, *self.folds.glob("*"), *self.winners.glob("*")):
            unfinished.sweep(folder)


#: The same names, relative to a search's folder.
NAMES = RunFolder(Path())


def cut_torn_line(file: Path) -> None:
    """Cut what stands after the last line break: the process died, or the disk was full, while it was written."""
    if file.exists():
        content = file.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(file, whole)
