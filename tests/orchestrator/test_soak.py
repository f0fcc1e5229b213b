"""A soak: one search and its ensemble, killed 20 times from imports to registration; then books are compared."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from benchmarks.report import table
from tests.support.searches import Search, nothing_is_lost

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]

SCRIPT = Path(__file__).parents[1] / "support" / "faulty_training.py"
TRIALS, SEED = 6, 20261128
#: Names of what a process leaves in the middle of writing; whoever comes next takes it away. Lock files stay.
STRAYS = ("*.part", "*.part.*", "study.journal.lock", "tmp*", ".*-????????", ".*.[0-9]*", "*.old", "*.new")


class Stage(NamedTuple):
    """Where a launch is killed.

    Attributes:
        name: what it is at.
        kills: how many launches end there.
        begun: whether it has come there; given the search, what this launch has said and when it began.
        within: it is killed at most so many seconds later.
    """

    name: str
    kills: int
    begun: Callable[[Search, str, float], bool]
    within: float


def _said(*words: str) -> Callable[[Search, str, float], bool]:
    return lambda search, output, since: any(one in output for one in words)


def _begun(search: Search, output: str, since: float) -> bool:
    return _fresh(search.home / "trials.jsonl", since)


def _trained(search: Search, output: str, since: float) -> bool:
    """A result in this launch: a trial that dies often without one is taken for what kills the search."""
    launched = [event["clock"] for event in search.events("launch")]
    results = [event["clock"] for event in search.events("result")]
    return _begun(search, output, since) and bool(results) and results[-1] > launched[-1]


def _summarised(search: Search, output: str, since: float) -> bool:
    return _fresh(search.home / "summary.json", since)


def _fresh(file: Path, since: float) -> bool:
    return file.exists() and file.stat().st_mtime > since


def _registered(search: Search, output: str, since: float) -> bool:
    return "winner " in output and bool(_rows(search, "select version from model_versions"))


#: In the order in which a command comes to them. What a launch has said that goes on beyond a stage counts, too.
STAGES = (
    Stage("imports", 3, lambda search, output, since: True, 3.0),
    Stage("Ray starts", 2, _said("split "), 6.0),
    Stage("search begins", 2, _begun, 4.0),
    Stage("search", 3, lambda *launch: _trained(*launch) or _summarised(*launch), 1.5),
    Stage("summary, pictures, models", 2, _summarised, 3.0),
    Stage("folds", 2, _said("models to train", "combiners are fitted"), 4.0),
    Stage("boosts", 2, _said("\nboost ", "combiners are fitted"), 2.0),
    Stage("comparison", 1, _said("combiners are fitted"), 0.3),
    Stage("test scoring", 1, _said("is scored on the test images", "winner "), 0.3),
    Stage("registering", 1, _said("winner "), 2.0),
    Stage("registered", 1, _registered, 0.3),
)
KILLS = [stage for stage in STAGES for _ in range(stage.kills)]


def test_a_search_killed_twenty_times_ends_as_if_it_had_not_been(
    phantom: Path, empty_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    flags = ["--data", str(phantom), "--image-size", "64", "--batch-size", "8", "--epochs", "6", "--folds", "3"]
    chosen = ["--arch", "unet", "--weights", "none", "--trials", str(TRIALS), "--top-k", "2", "--boost-rounds", "1"]
    search = Search(tmp_path, "soak", [*flags, *chosen], SCRIPT, ending=())
    rows, draw = list[dict[str, str | float]](), random.Random(SEED)
    for number, stage in enumerate(KILLS, 1):
        went_on = _killed(search, stage, draw.uniform(0, stage.within))
        rows.append({"kill": number, "stage": stage.name, "left": _what_is_left(search), "went on after, s": went_on})
    with search.resume() as launch:
        launch.end()
    with capsys.disabled():
        print(f"\n\n{table(rows)}")
    _books(search)


def _killed(search: Search, stage: Stage, after: float) -> float | str:
    """Launch it, the first time or again, and kill it and all that it started a while after it has come to a stage.

    Returns:
        Seconds from the command until the ledger has its launch; "-" where it was killed before.
    """
    before, began, went_on, end = len(search.events("launch")), time.time(), 0.0, 0.0
    with search.resume() if search.home.exists() else search.begin() as launch:
        while not end or time.time() < end:
            if not went_on and len(search.events("launch")) > before:
                went_on = time.time() - began
            if not end and stage.begun(search, launch.output, began):
                end = time.time() + after
            assert not launch.ended, f"it was to be killed at {stage.name}, and ended: {launch.output}"
            time.sleep(0.02)
        assert "Traceback" not in launch.output, launch.output
    return went_on or "-"


def _rows(search: Search, query: str) -> list[tuple[str, ...]]:
    with closing(sqlite3.connect(f"file:{search.database}?mode=ro", uri=True, timeout=20)) as store:
        return store.execute(query).fetchall()


def _strays(search: Search) -> list[str]:
    folders = (search.home.parent, search.folder / "mlartifacts")
    found = {path for folder in folders for pattern in STRAYS for path in folder.rglob(pattern)}
    return sorted(str(path.relative_to(search.folder)) for path in found)


def _what_is_left(search: Search) -> str:
    running = len(_rows(search, "select run_uuid from runs where status = 'RUNNING'"))
    strays = [Path(name).name for name in _strays(search)]
    return ", ".join([*([f"{running} runs RUNNING"] if running else []), *strays]) or "nothing"


def _books(search: Search) -> None:
    """Trials, runs, suggestions, the look at the test images, versions and files: each once, none left."""
    nothing_is_lost(search)
    asked = [json.dumps(event["config"], sort_keys=True) for event in search.events("asked")]
    assert len(asked) == len(set(asked)) == TRIALS, "no point is suggested twice"

    assert not _rows(search, "select run_uuid from runs where status = 'RUNNING'")
    keys = "'kind', 'search_id', 'trial_id'"
    tags = _rows(search, f"select run_uuid, key, value from tags where key in ({keys}) order by key")
    runs: dict[str, list[str]] = {}
    for run, _, value in tags:
        runs.setdefault(run, []).append(value)
    assert not [key for key, count in Counter(map(tuple, runs.values())).items() if count > 1], "one run each"

    looks = {key for (key,) in _rows(search, "select key from tags where key like 'test_scored.%'")}
    assert len(looks) == 1, "the test images were looked at once"
    assert len(_rows(search, "select version from model_versions")) == 1
    models = _rows(search, "select source_run_id from logged_models where lifecycle_stage = 'active'")
    assert not [run for run, count in Counter(models).items() if count > 1], "one model a trial"
    assert not _strays(search)
