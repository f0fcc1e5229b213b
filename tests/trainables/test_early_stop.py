"""Early stopping, as recipes ask for it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from trainables.trial import Trial


@pytest.mark.parametrize(
    ("config", "epoch", "best", "stops"),
    [
        ({"freeze_epochs": 0, "epochs": 50, "early_stop": 3}, 5, 2, True),
        ({"freeze_epochs": 0, "epochs": 50, "early_stop": 3}, 4, 2, False),
        ({"freeze_epochs": 10, "epochs": 50, "early_stop": 3}, 9, 2, False),  # the second stage must begin
        ({"freeze_epochs": 10, "epochs": 50, "early_stop": 3}, 12, 2, False),
        ({"freeze_epochs": 10, "epochs": 50, "early_stop": 3}, 13, 2, True),
        ({"freeze_epochs": 50, "epochs": 50, "early_stop": 5}, 9, 4, True),  # frozen throughout: one stage
        ({"freeze_epochs": 0, "epochs": 50}, 49, 1, False),
    ],
)
def test_each_stage_has_its_own_patience(config: dict[str, Any], epoch: int, best: int, stops: bool) -> None:
    trial = Trial.__new__(Trial)
    trial.training = SimpleNamespace(config=config, epoch=epoch)
    trial.best = {"epoch": best}
    assert trial._waited_enough() is stops
