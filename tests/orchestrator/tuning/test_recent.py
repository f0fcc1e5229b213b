"""Looking at all trials: each time where they are few, seldom where they are many."""

from __future__ import annotations

import itertools

from orchestrator.tuning.recent import Recent


def test_few_are_looked_at_each_time_and_many_once_for_a_hundredth_of_them() -> None:
    looks, trials = itertools.count(1), dict.fromkeys(range(99))
    recent = Recent(lambda: next(looks), trials)
    assert [recent() for _ in range(5)] == [1, 2, 3, 4, 5]
    trials.update(dict.fromkeys(range(1000)))
    found = [recent() for _ in range(23)]
    assert found == [6] * 11 + [7] * 11 + [8]
