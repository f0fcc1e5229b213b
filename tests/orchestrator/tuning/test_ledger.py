"""The ledger: what it says after a crash is what it said before."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from orchestrator.common.errors import UserError
from orchestrator.storage.run_folder import RunFolder
from orchestrator.storage.storage import Storage
from orchestrator.tuning.budget import Budget
from orchestrator.tuning.identity import Identity
from orchestrator.tuning.ledger import FRUITLESS_LAUNCHES, Ledger
from orchestrator.tuning.summary import spent
from tests.support.search_runs import search_summary

CONFIG = {"architecture": "unet", "encoder": "", "recipe": "", "epochs": 4}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Seconds since the machine began, as the test says."""
    now = {"now": 100.0}
    monkeypatch.setattr("orchestrator.tuning.ledger.time.monotonic", lambda: now["now"])
    return now


def _begin(folder: Path, gpus: float = 0.5) -> Ledger:
    ledger = Ledger(folder)
    ledger.launch(Identity(task="seg"), gpus)
    return ledger


def _ask(ledger: Ledger, trial: str) -> None:
    number = len(ledger.trials) + 1
    ledger.add("asked", trial, number=number, study_number=number - 1, config=CONFIG)
    ledger.add("started", trial)


def _result(ledger: Ledger, trial: str, epoch: int, best_epoch: int | None = None, ending: str = "") -> None:
    metrics = {"best/dice": epoch / 10, "best/epoch": best_epoch or epoch}
    ledger.add("result", trial, epoch=epoch, metrics=metrics, ending=ending)


def _checkpoint(ledger: Ledger, trial: str, epoch: int, folder: Path) -> None:
    path = folder / f"checkpoint_{trial}_{epoch}"
    path.mkdir()
    (path / "training.pt").write_text("state")
    ledger.add("checkpoint", trial, path=path.name, epoch=epoch)


def test_reopened_it_holds_the_same_trials(tmp_path: Path, clock: dict[str, float]) -> None:
    ledger = _begin(tmp_path)
    _ask(ledger, "a")
    clock["now"] += 8
    _result(ledger, "a", 1)
    _checkpoint(ledger, "a", 1, tmp_path)
    _ask(ledger, "b")
    clock["now"] += 2
    ledger.add("ended", "b", state="failed", reason="ValueError: no")
    before: dict[str, Any] = {name: asdict(record) for name, record in ledger.trials.items()}
    ledger.close()
    clock["now"] += 1000  # nobody ran it: that is not spent

    again = Ledger(tmp_path)
    assert {name: asdict(record) for name, record in again.trials.items()} == before
    assert again.identity == Identity(task="seg")
    assert again.clock() == 10
    assert [record.trial_id for record in again.unfinished()] == ["a"]
    assert again.trials["b"].reason == "ValueError: no"
    assert again.trials["a"].seconds == 8


def test_what_was_half_written_is_cut_off(tmp_path: Path) -> None:
    ledger = _begin(tmp_path)
    _ask(ledger, "a")
    ledger.close()
    with RunFolder(tmp_path).ledger.open("ab") as file:
        file.write(b'{"event": "result", "trial": "a", "epo')
    again = Ledger(tmp_path)
    assert again.trials["a"].epoch == 0
    again.launch(Identity(), 0)
    again.close()
    assert [event.event for event in Ledger(tmp_path).history] == ["launch", "asked", "started", "launch"]


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = _begin(tmp_path)
    size = RunFolder(tmp_path).ledger.stat().st_size

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("orchestrator.tuning.ledger.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        _ask(ledger, "a")
    assert RunFolder(tmp_path).ledger.stat().st_size == size
    assert not ledger.trials


def test_the_reserve_is_for_the_last_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = _begin(tmp_path)
    budget = Budget(ledger, None, None, 0)
    _ask(ledger, "a")
    synced = os.fsync

    def full_without_the_reserve(number: int) -> None:
        if RunFolder(tmp_path).reserve.exists():
            raise OSError(28, "No space left on device")
        synced(number)

    monkeypatch.setattr("orchestrator.tuning.ledger.os.fsync", full_without_the_reserve)
    assert not budget.over()
    ledger.add("ended", "a", state="interrupted", reason="")
    assert budget.stop_all()
    assert "disk full: make room for" in budget.why()
    ledger.close()
    assert Ledger(tmp_path).trials["a"].state == "interrupted"


def test_a_second_process_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    ledger = _begin(tmp_path)
    with pytest.raises(UserError, match=r"running already \(process \d+ on .+\); wait for its end"):
        Ledger(tmp_path)
    ledger.close()
    Ledger(tmp_path)


def test_gpu_hours_are_those_of_the_trials_slots(tmp_path: Path, clock: dict[str, float]) -> None:
    ledger = _begin(tmp_path, gpus=0.5)
    budget = Budget(ledger, None, gpu_hours=0.01, gpus=1)  # 36 GPU-seconds
    _ask(ledger, "a")
    clock["now"] += 20
    assert ledger.gpu_seconds() == 10  # still running
    assert budget.left() == 26
    ledger.add("ended", "a", state="completed", reason="")
    clock["now"] += 100  # nobody holds a GPU
    assert ledger.gpu_seconds() == 10
    _ask(ledger, "b")
    clock["now"] += 52
    assert budget.over()
    assert budget.why() == "the GPU-hours are spent: 0.01"
    assert ledger.trials["a"].gpu_seconds == 10


def test_time_budget_counts_earlier_launches(tmp_path: Path, clock: dict[str, float]) -> None:
    ledger = _begin(tmp_path)
    clock["now"] += 50
    _ask(ledger, "a")
    ledger.close()
    again = _begin(tmp_path)
    budget = Budget(again, 60, None, 0)
    assert budget.left() == 10
    assert not budget.over()
    clock["now"] += 10
    assert budget.over()


@pytest.mark.parametrize(
    ("ending", "best", "saved", "settled"),
    [
        ("completed", 4, 4, True),
        ("asha", 2, 2, True),  # it got no better after epoch 2, and that is in a checkpoint
        ("asha", 4, 2, False),  # its best weights were not saved yet: it trains them again
        ("budget", 4, 4, False),
        ("", 4, 4, False),
    ],
)
def test_a_trial_whose_end_was_not_written_is_settled(
    tmp_path: Path, ending: str, best: int, saved: int, settled: bool
) -> None:
    ledger = _begin(tmp_path)
    _ask(ledger, "a")
    _checkpoint(ledger, "a", saved, tmp_path)
    _result(ledger, "a", 4, best, ending)
    ledger.close()
    again = _begin(tmp_path)
    again.settle(Storage(tmp_path))
    assert again.trials["a"].ended is settled
    assert again.trials["a"].state == (ending if settled else "waiting")


def test_a_trial_that_was_promoted_is_unfinished_until_it_waits_or_ends_again(tmp_path: Path) -> None:
    ledger = _begin(tmp_path)
    for trial in ("a", "b"):
        _ask(ledger, trial)
        _checkpoint(ledger, trial, 2, tmp_path)
        _result(ledger, trial, 2, ending="asha")
        ledger.add("ended", trial, state="asha", reason="")
    _ask(ledger, "c")
    ledger.add("promoted", "a", last=False)
    ledger.close()
    again = _begin(tmp_path)
    again.settle(Storage(tmp_path))
    assert [record.trial_id for record in again.unfinished()] == ["c", "a"]
    assert again.trials["a"].state == "asha"
    again.add("started", "a")
    assert again.trials["a"].state == "running"
    again.add("ended", "a", state="completed", reason="")
    assert [record.trial_id for record in again.unfinished()] == ["c"]


def test_a_trial_that_kills_the_search_each_time_is_given_up(tmp_path: Path) -> None:
    _begin(tmp_path).close()
    for launch in range(FRUITLESS_LAUNCHES):
        ledger = _begin(tmp_path)
        ledger.settle(Storage(tmp_path))
        _ask(ledger, "a") if launch == 0 else ledger.add("started", "a")
        _ask(ledger, f"good {launch}")
        _result(ledger, f"good {launch}", 1)
        ledger.close()
    last = _begin(tmp_path)
    last.settle(Storage(tmp_path))
    assert last.trials["a"].state == "failed"
    assert "died 3 times" in last.trials["a"].reason
    assert "good 0" in {record.trial_id for record in last.unfinished()}


@pytest.mark.parametrize("lost", ["deleted", "empty"])
def test_a_lost_checkpoint_means_from_the_beginning(tmp_path: Path, lost: str) -> None:
    ledger = _begin(tmp_path)
    _ask(ledger, "a")
    _checkpoint(ledger, "a", 2, tmp_path)
    ledger.close()
    file = tmp_path / "checkpoint_a_2" / "training.pt"
    file.unlink() if lost == "deleted" else file.write_text("")
    again = _begin(tmp_path)
    again.settle(Storage(tmp_path))
    assert (again.trials["a"].checkpoint, again.trials["a"].checkpoint_epoch) == ("", 0)


def test_energy_is_that_of_all_epochs_also_of_those_done_again(tmp_path: Path) -> None:
    ledger = _begin(tmp_path)
    _ask(ledger, "a")
    _ask(ledger, "b")
    for epoch in (1, 2, 2):
        ledger.add("result", "a", epoch=epoch, metrics={"system/energy_watt_hours": 250.0}, ending="")
    _result(ledger, "b", 1)
    ledger.close()
    again = Ledger(tmp_path)
    known, unknown = spent(again.trials.values()), spent([again.trials["b"]])
    assert (known.energy_kwh, unknown.energy_kwh) == (0.75, None)
    assert search_summary(spent=known).figures()["spent/energy_kwh"] == 0.75
    assert "spent/energy_kwh" not in search_summary(spent=unknown).figures()
