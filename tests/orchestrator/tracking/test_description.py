"""The experiment's description and data, on a real store: ranking, links that lead to runs, foreign text as text."""

from __future__ import annotations

import re
from html import unescape

import pytest
from mlflow import MlflowClient
from mlflow.entities import Dataset

from orchestrator.scoring.final_scores import FinalScores
from orchestrator.tracking import description
from orchestrator.tracking.description import BEGIN, END, LENGTH, TAG, escape, update
from orchestrator.tracking.ranking import rank, read_trials
from orchestrator.tracking.tracker import Tracker
from tests.support.mlflow_runs import runs

HOSTILE = "<script>alert(1)</script> | [a](javascript:x) **b** `c` \u202egnp\n# d"
ROW = re.compile(r"^\| (\d+)&emsp;\| \[(.*?)\]\(#/experiments/(\d+)/runs/(\w+)\)&emsp;\| ([\d.]+)&emsp;", re.MULTILINE)


def _tags(fingerprint: str = "f1" * 32, source: str = "/data/busi", **more: str) -> dict[str, str]:
    found = {"task": "seg", "classes": "3", "primary": "dice", "architecture": "unet", "encoder": "resnet18"}
    return {**found, "data_fingerprint": fingerprint, "data_source": source, "synthetic": "false", **more}


def _searched(uri: str, name: str, values: dict[str, float], experiment: str = "seg", **tags: str) -> Tracker:
    """A finished search whose trials reached these values, by their names."""
    tracker = Tracker(uri, experiment, describe=description.update)
    data = Dataset("busi", "f1f1", "local", "{}")
    tracker.start_search(name, {"trials": len(values)}, _tags(**tags), data=data)
    for trial, value in values.items():
        tracker.start_trial(f"{name} {trial}", trial, {"lr": 0.1}, _tags(**tags))
        tracker.log(f"{name} {trial}", {"best/dice": value}, 1)
        tracker.end_trial(f"{name} {trial}", "FINISHED", {"stopped": "completed"})
    tracker.end_search("FINISHED", {}, {})
    assert tracker.close()
    return tracker


def _text(uri: str, experiment: str = "seg") -> str:
    return MlflowClient(uri).get_experiment_by_name(experiment).tags[TAG]


def test_foreign_text_is_shown_and_is_no_markup() -> None:
    shown = escape(HOSTILE)
    assert not set("<>|[]()*`:/\n\u202e") & set(re.sub(r"&#\d+;", "", shown))
    assert unescape(shown).startswith("<script>alert(1)</script> | [a](javascript:x)")
    assert "\ufffd" in shown
    assert escape("größer #1 a-b") == "größer &#35;1 a-b"
    assert len(unescape(escape("x" * 500))) == description.NAME


@pytest.mark.slow
def test_the_table_is_the_leaderboards_ranking_and_leads_to_its_runs(store: str) -> None:
    many = {f"#{number} unet": (number * 37 % 100) / 100 for number in range(1, 15)}
    _searched(store, "first", many)
    _searched(store, "second", {"#1 fpn": 0.999, "#2 fpn": 0.14})
    _searched(store, "other data", {"#1 other": 0.5}, fingerprint="e2" * 32, synthetic="true")
    ranked = {ranking.data_fingerprint[:2]: ranking.ranked for ranking in rank(read_trials(store), description.TOP)}
    parts = _text(store).split("**seg** on ")[1:]
    assert [part.split("data ")[1][:2] for part in parts] == ["e2", "f1"], "that of the newest search comes first"
    known = {run.info.run_id for run in runs(store)}
    for part in parts:
        rows = ROW.findall(part)
        expected = ranked[part.split("data ")[1][:2]]
        assert [(unescape(name), run_id, value) for _, name, _, run_id, value in rows] == [
            (row.name, row.run_id, f"{row.best:.4f}") for row in expected
        ]
        assert [int(place) for place, *_ in rows] == list(range(1, len(expected) + 1))
        assert set(re.findall(r"/runs/(\w+)", part)) <= known
    assert ["SYNTHETIC" in part for part in parts] == [True, False]


@pytest.mark.slow
def test_hostile_names_stay_text(store: str) -> None:
    experiment = "<img src=x onerror=alert(1)> 'quoted' \"twice\""
    _searched(store, "a search", {HOSTILE: 0.5}, experiment, source=f"/data/{HOSTILE}".replace("\n", ""))
    text = _text(store, experiment)
    assert "<script" not in text
    assert "javascript:" not in text
    assert "\u202e" not in text
    assert len(ROW.findall(text)) == 1
    assert text.count("<") == text.count("<!--") == 2


@pytest.mark.slow
def test_a_persons_own_words_stay_and_ours_have_room(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = _searched(store, "first", {"#1 unet": 0.5})
    client = MlflowClient(store)
    client.set_experiment_tag(tracker.experiment_id, TAG, f"mine{BEGIN}outdated{END}mine, too")
    update(client, tracker.experiment_id)
    text = _text(store)
    assert text.startswith(f"mine{BEGIN}\n**seg**")
    assert text.endswith(f"{END}mine, too")
    assert "outdated" not in text
    for number in range(2, 4):
        _searched(store, f"search {number}", {"#1 unet": 0.5}, fingerprint=f"{number:02}" * 32)
    monkeypatch.setattr(description, "LENGTH", 1500)
    short = description.describe(client, tracker.experiment_id)
    assert len(short) < LENGTH
    assert "data 03030303" in short
    assert "2 more rankings are not shown" in short


@pytest.mark.slow
def test_an_ensembles_figures_and_the_champion_are_shown(store: str) -> None:
    experiment_id = _searched(store, "first", {"#1 unet": 0.5}).experiment_id
    test = FinalScores(
        metric="dice",
        value=0.63,
        interval=(0.55, 0.7),
        best_single=0.62,
        difference=0.01,
        difference_interval=(-0.02, 0.04),
    )
    tracker = Tracker(store, "seg", describe=description.update)
    run_id = tracker.start_search("ensemble of first", {}, _tags(), kind="ensemble")
    client = MlflowClient(store)
    client.create_registered_model("breast-ultrasound-seg")
    client.create_model_version("breast-ultrasound-seg", "file:///nowhere", run_id)
    client.set_registered_model_alias("breast-ultrasound-seg", "champion", "1")
    tracker.end_search("FINISHED", {}, description.ensemble_tags("mean", "weak", (0.61, 0.02), test, "1"))
    assert tracker.close()
    (line,) = [line for line in unescape(_text(store)).splitlines() if "ensemble of first" in line]
    assert f"(#/experiments/{experiment_id}/runs/{run_id})" in line
    for figure in ("0.6100 ± 0.0200", "0.6300 (0.5500 to 0.7000)", "+0.0100 (-0.0200 to +0.0400)", "**champion**"):
        assert figure in line
    assert "[version 1](#/models/breast-ultrasound-seg/versions/1)" in line


@pytest.mark.slow
def test_a_description_that_fails_stops_nothing(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(client: MlflowClient, experiment_id: str) -> None:
        raise RuntimeError("made to fail")

    monkeypatch.setattr(description, "update", broken)
    _searched(store, "first", {"#1 unet": 0.5})
    assert {run.info.status for run in runs(store)} == {"FINISHED"}


@pytest.mark.slow
def test_data_are_a_runs_input_once_also_when_resumed(store: str) -> None:
    for _ in range(2):
        _searched(store, "first", {"#1 unet": 0.5})
    found = runs(store)
    assert len(found) == 2
    for run in found:
        (given,) = run.inputs.dataset_inputs
        assert (given.dataset.name, given.dataset.digest) == ("busi", "f1f1")
        assert [tag.value for tag in given.tags] == ["train, validation"]
    client = MlflowClient(store)
    ids = [found[0].info.experiment_id]
    assert len(client.search_runs(ids, "dataset.name = 'busi' and dataset.digest = 'f1f1'")) == 2
    assert not client.search_runs(ids, "dataset.digest = 'other'")
