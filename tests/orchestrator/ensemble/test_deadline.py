"""When an ensemble has to end, and what it says then."""

from __future__ import annotations

import math
import signal
import time

import pytest

from orchestrator.common.signals import interruptible
from orchestrator.ensemble.deadline import Deadline


def test_without_a_limit_there_is_always_time() -> None:
    free = Deadline()
    assert math.isinf(free.left)
    assert not free.over()
    assert not free.late(0.0)


def test_what_must_follow_is_kept_free() -> None:
    ending = Deadline(time.monotonic() + 1000)
    assert not ending.over()
    ending.reserve = 2000
    assert ending.over()
    ending.lack("2 of 4 compared folds")
    assert ending.lacks == ["2 of 4 compared folds: the time budget ended"]


def test_it_says_why_it_is_late() -> None:
    ending = Deadline(time.monotonic() - 60)
    ending.reserve = 10
    assert ending.late(time.monotonic() - 80).endswith("what follows the trainings took 80 s, not 10 s")
    assert ending.late(time.monotonic() - 12).endswith("what came before the comparison ended 58 s late")


def test_ctrl_c_once_finishes_and_twice_stops(capsys: pytest.CaptureFixture) -> None:
    ending = Deadline()
    before = signal.getsignal(signal.SIGINT)
    with interruptible(ending.interrupt):
        signal.raise_signal(signal.SIGINT)
        assert ending.over()
        ending.lack("1 of 4 candidates")
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
    assert ending.lacks == ["1 of 4 candidates: interrupted"]
    assert "finishing with what is there; again to stop at once" in capsys.readouterr().out


def test_sigterm_stops_at_once() -> None:
    with interruptible(Deadline().interrupt), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
