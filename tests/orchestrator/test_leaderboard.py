"""Ranking rules, and the leaderboard command on a real store."""

from __future__ import annotations

import io
import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from orchestrator.common.console import shown_on
from orchestrator.config.types import TrackingError
from orchestrator.leaderboard import main, print_rankings
from orchestrator.tracking import ranking
from orchestrator.tracking.ranking import TrialRow, rank, read_trials
from orchestrator.tracking.tracker import Tracker

ROW = TrialRow(
    name="unet #1",
    search="first look",
    task="seg",
    architecture="unet",
    encoder="",
    primary="dice",
    best=0.5,
    epochs=3,
    seconds=10.0,
    status="FINISHED",
    stopped="completed",
    data_source="busi",
    data_fingerprint="aaaa1111bbbb",
    synthetic=False,
    run_id="r0",
)

rows = st.lists(
    st.builds(
        lambda number, best, seconds, task, data, arch: replace(
            ROW, run_id=str(number), best=best, seconds=seconds, task=task, data_fingerprint=data, architecture=arch
        ),
        st.integers(0, 10**6),
        st.none() | st.sampled_from([0.0, 0.5, 0.7, math.nan, math.inf]) | st.floats(0, 1),
        st.none() | st.sampled_from([1.0, 2.0]),
        st.sampled_from(["seg", "cls"]),
        st.sampled_from(["a", "b"]),
        st.sampled_from(["unet", "resunet", "smp_fpn"]),
    ),
    unique_by=lambda row: row.run_id,
    max_size=30,
)


@given(rows, st.randoms())
def test_rankings_hold_every_trial_once_sorted_and_unmixed(trials: list[TrialRow], random: object) -> None:
    rankings = rank(trials)
    assert sorted(row.run_id for one in rankings for row in one.ranked + one.unranked) == sorted(
        row.run_id for row in trials
    )
    assert len({(one.task, one.data_fingerprint) for one in rankings}) == len(rankings)
    for one in rankings:
        assert {(row.task, row.data_fingerprint) for row in one.ranked + one.unranked} == {
            (one.task, one.data_fingerprint)
        }
        best = [row.best for row in one.ranked if row.best is not None and math.isfinite(row.best)]
        assert len(best) == len(one.ranked)
        assert best == sorted(best, reverse=True)
        assert not any(row.best is not None and math.isfinite(row.best) for row in one.unranked)
    shuffled = list(trials)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert [one.ranked for one in rank(shuffled)] == [one.ranked for one in rankings]


@given(rows, st.integers(1, 5))
def test_best_per_and_top_keep_the_best(trials: list[TrialRow], top: int) -> None:
    everything = {(one.task, one.data_fingerprint): one for one in rank(trials)}
    for one in rank(trials, top=top, best_per="architecture"):
        whole = everything[one.task, one.data_fingerprint].ranked
        firsts = [row for i, row in enumerate(whole) if row.architecture not in {r.architecture for r in whole[:i]}]
        assert one.ranked == firsts[:top]
        assert one.unranked == []


def test_a_tie_goes_to_the_faster_trial() -> None:
    slow, fast, unknown = (replace(ROW, run_id=f"{s}", seconds=s) for s in (20.0, 5.0, None))
    assert rank([slow, unknown, fast])[0].ranked == [fast, slow, unknown]


def test_tables_are_headed_by_their_data_and_names_are_not_markup() -> None:
    out = io.StringIO()
    phantom = replace(ROW, data_fingerprint="cccc2222dddd", data_source="phantom", synthetic=True, name="[red]x[/] #1")
    failed = replace(ROW, name="unet #9", best=None, seconds=None, stopped="error", run_id="r9")
    with shown_on(Console(file=out, width=120)):
        print_rankings(rank([failed, ROW, phantom]))
    lines = [" ".join(line.split()) for line in out.getvalue().splitlines()]
    assert lines[0] == "seg on busi (data aaaa1111)"
    assert lines[1] == "# best dice epochs time trial state search run"
    assert lines[2] == "1 0.5000 3 10 s unet #1 completed first look r0"
    assert lines[3] == "- - 3 - unet #9 error first look r9"
    assert lines[5] == "seg on phantom (data cccc2222, synthetic)"
    assert "[red]x[/]" in lines[7]


def test_no_store_is_one_line_and_nothing_is_created(tmp_path: Path) -> None:
    environment = {"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": "", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "orchestrator.leaderboard", "--json"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert f"no tracking store at {tmp_path}/mlflow.db; run a search first" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("flags", "allowed"),
    [
        (["--task", "xyz"], "seg"),
        (["--best-per", "xyz"], "architecture"),
        (["--top", "0"], "greater than or equal to 1"),
    ],
)
def test_a_wrong_value_names_the_allowed_ones(
    flags: list[str], allowed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(flags) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert allowed in line


@pytest.fixture
def filled(store: str) -> str:
    """Two experiments: three trials on data `one`, one of them without a value, and a classifier on data `two`."""
    for experiment, task, primary, data, values in (
        ("seg", "seg", "dice", "one", {"unet": [0.5, 0.8, 0.3], "resunet": [0.6, 0.6, 0.6], "smp_fpn": []}),
        ("cls", "cls", "auroc", "two", {"resnet": [0.9]}),
    ):
        tracker = Tracker(store, experiment)
        tracker.start_search(f"{task} search", {}, {"task": task})
        for architecture, curve in values.items():
            tags = {"task": task, "architecture": architecture, "primary": primary, "data_fingerprint": data}
            tags |= {"data_source": "somewhere", "synthetic": str(task == "cls").lower()}
            tracker.start_trial(architecture, f"{architecture} #1", {"epochs": 9}, tags)
            for epoch, value in enumerate(curve, start=1):
                best = {f"val/{primary}": value, f"best/{primary}": max(curve[:epoch])}
                tracker.log(architecture, best, epoch)
            tracker.end_trial(
                architecture, "FINISHED" if curve else "FAILED", {"stopped": "asha" if curve else "error"}
            )
        tracker.end_search("FINISHED", {f"best/{primary}": 0.99}, {})
        tracker.close()
    return store


@pytest.mark.slow
def test_trials_are_read_back_from_every_experiment(filled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "PAGE", 1)  # every read takes several pages
    found = {row.architecture: row for row in read_trials(filled)}
    assert set(found) == {"unet", "resunet", "smp_fpn", "resnet"}, "the searches' own runs are not trials"
    unet = found["unet"]
    assert (unet.name, unet.search, unet.task, unet.best, unet.epochs) == ("unet #1", "seg search", "seg", 0.8, 3)
    assert (unet.status, unet.stopped, unet.data_source, unet.synthetic) == ("FINISHED", "asha", "somewhere", False)
    assert unet.seconds is not None
    assert 0 <= unet.seconds < 60
    assert (found["smp_fpn"].best, found["smp_fpn"].epochs) == (None, 0)
    assert found["resnet"].synthetic
    assert {row.architecture for row in read_trials(filled, task="cls")} == {"resnet"}
    assert {row.architecture for row in read_trials(filled, experiment="seg")} == {"unet", "resunet", "smp_fpn"}
    with pytest.raises(TrackingError, match="no experiment nope; choose from Default, cls, seg"):
        read_trials(filled, experiment="nope")


@pytest.mark.slow
def test_the_command(filled: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--tracking-uri", filled, "--json"]) == 0
    out, err = capsys.readouterr()
    listed = json.loads(out)
    assert err == ""
    assert [(row["rank"], row["task"], row["architecture"], row["best"]) for row in listed] == [
        (1, "cls", "resnet", 0.9),
        (1, "seg", "unet", 0.8),
        (2, "seg", "resunet", 0.6),
        (None, "seg", "smp_fpn", None),
    ]
    assert main(["--tracking-uri", filled, "--task", "seg", "--top", "1", "--json"]) == 0
    assert [row["architecture"] for row in json.loads(capsys.readouterr().out)] == ["unet"]
    assert main(["--tracking-uri", filled, "--task", "multi", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert main(["--tracking-uri", filled]) == 0
    table = capsys.readouterr().out
    assert table.index("cls on somewhere (data two, synthetic)") < table.index("seg on somewhere (data one)")
    assert main(["--tracking-uri", filled, "--task", "multi"]) == 0
    assert "no trials of task multi yet" in capsys.readouterr().out
    assert main(["--tracking-uri", filled, "--experiment", "nope"]) == 2
    assert capsys.readouterr() == ("", "error: no experiment nope; choose from Default, cls, seg\n")
