"""What a person sees: plain lines without a terminal, and time left that is no fantasy."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console

from orchestrator.common.console import format_seconds, shown_on
from orchestrator.tuning.budget import Budget
from orchestrator.tuning.ledger import Ledger
from orchestrator.tuning.progress import SearchProgress

Made = tuple[SearchProgress, io.StringIO]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Made]]:
    out = io.StringIO()

    def make(trials: int, slots: int, seconds: float | None = None, levels: tuple[int, ...] = ()) -> Made:
        budget = Budget(Ledger(tmp_path), seconds, None, 0)
        return SearchProgress(trials=trials, slots=slots, metric="dice", budget=budget, levels=levels), out

    with shown_on(Console(file=out, width=120)):
        yield make


def test_one_plain_line_for_each_finished_trial(make: Callable[..., Made]) -> None:
    progress, out = make(trials=3, slots=2)
    with progress:
        progress.started("a", 1, "#1 unet [x]", 4)
        progress.started("b", 2, "#2 fpn", 4)
        progress.epoch("a", 4, 0.5)
        progress.finished("a", "completed")
        progress.finished("b", "failed")
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("trial 1/3  #1 unet [x]  epoch 4/4  best dice 0.5000  completed")
    assert "best dice   -    failed" in lines[1]
    assert len(lines) == 2


def test_time_left_counts_what_runs_and_what_waits(make: Callable[..., Made], monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "time", lambda: now)
    progress, _ = make(trials=4, slots=2)
    assert "known after" in progress._left()
    progress.started("a", 1, "#1 a", 10)
    progress.started("b", 2, "#2 b", 10)
    now = 1020.0
    progress.epoch("a", 10, 0.5)
    progress.finished("a", "completed")  # 20 s
    progress.epoch("b", 2, 0.5)  # 10 s an epoch, 80 s to go
    assert progress._left() == "about 80 s left"
    progress.started("c", 3, "#3 c", 10)
    now = 1021.0
    progress.epoch("c", 1, 0.5)  # 1 s an epoch, 9 s to go; b took 10.5 s an epoch by now
    assert progress._left() == "about 84 s left"


def test_time_left_counts_who_waits_at_a_rung_and_who_is_promoted(
    make: Callable[..., Made], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "time", lambda: now)
    progress, out = make(trials=3, slots=1, levels=(2,))  # 3 x 2 and 1 x 8 epochs
    for number, name in enumerate("abc", start=1):
        progress.started(name, number, f"#{number} {name}", 10)
        now += 4.0
        progress.epoch(name, 2, 0.5)
        progress.finished(name, "asha")
    assert progress._left() == "about 16 s left"
    progress.started("b", 2, "#2 b", 10)
    now += 6.0
    progress.epoch("b", 5, 0.6)
    assert progress._left() == "about 10 s left"
    progress.finished("b", "completed")
    assert "trial 3/3  #2 b  epoch 5/10  best dice 0.6000  completed  10 s" in out.getvalue()


def test_a_trial_without_an_epoch_is_not_about_to_end(
    make: Callable[..., Made], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "time", lambda: now)
    progress, _ = make(trials=2, slots=2)
    progress.started("a", 1, "#1 a", 10)
    progress.started("b", 2, "#2 b", 10)
    now = 1060.0
    progress.epoch("a", 10, 0.5)
    progress.finished("a", "completed")
    assert progress._left() == "about 60 s left"


def test_time_left_is_never_more_than_the_budget(make: Callable[..., Made]) -> None:
    progress, _ = make(trials=100, slots=1, seconds=30)
    progress.started("a", 1, "#1 a", 1)
    progress._rows["a"].started -= 1000
    progress.finished("a", "completed")
    assert progress._left() in ("about 30 s left", "about 29 s left")


@pytest.mark.parametrize(("seconds", "text"), [(45, "45 s"), (750, "12 min"), (12240, "3.4 h")])
def test_seconds_in_words(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text
