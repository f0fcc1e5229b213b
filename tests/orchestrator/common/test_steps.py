"""Progress that is true: a step's bar begins empty, and one whose end nobody knows is never full."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from orchestrator.common import steps as module
from orchestrator.common.console import progress_bar, shown_on
from orchestrator.common.steps import Steps, steps


def test_a_step_starts_at_nothing_and_without_a_total_never_ends() -> None:
    with shown_on(Console(file=StringIO(), force_terminal=True)), progress_bar() as bar:
        at = Steps(bar)
        at.begin("predicting images", 4)
        at(4, 4)
        assert [(one.description, one.completed, one.total) for one in bar.tasks] == [("predicting images", 4, 4)]
        at.begin("drawing the page")
        assert [(one.description, one.completed, one.total) for one in bar.tasks] == [("drawing the page", 0, None)]


def test_without_a_terminal_a_line_is_said_where_it_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    said, now = StringIO(), [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    with shown_on(Console(file=said, force_terminal=False)), steps() as at:
        at.begin("examining images", 600)
        at(100, 600)
        for second, done in ((5.0, 300), (6.0, 350), (10.5, 599)):
            now[0] = second
            at(done, 600)
        at.begin("looking for near-duplicates")
        now[0] = 20.0
        at.begin("predicting images", 600)
    assert said.getvalue().splitlines() == [
        *("examining images: 300 of 600", "examining images: 599 of 600", "predicting images"),
    ]
