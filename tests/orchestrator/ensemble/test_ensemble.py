"""From a search to the registry: real trials, a real Ray, a real MLflow store, real kills."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import mlflow.pyfunc
import numpy as np
import pytest
from mlflow import MlflowClient

from orchestrator.common.errors import UserError
from orchestrator.ensemble.candidates import Candidate, CandidateReader
from orchestrator.ensemble.deadline import Deadline
from orchestrator.ensemble.member_predictions import refuse_overlap
from orchestrator.ensemble.members import MemberTrainer
from orchestrator.inference.predictor import Predictor
from orchestrator.storage.storage import Storage
from orchestrator.tracking.ranking import rank, read_trials
from tests.support.home import Home
from tests.support.mlflow_runs import runs
from tests.support.processes import Process
from trainables.data import prepare, read_manifest
from trainables.data.pixels import read_image
from trainables.held_out import Job

pytestmark = pytest.mark.slow

ROWS = ["best", "mean", "greedy", "boosted", "boosted-trained", "stacked"]


@pytest.mark.parametrize("task", ["seg", "cls", "multi"])
def test_a_search_ends_with_an_ensemble(home: Home, task: str) -> None:
    found = home.first[task]
    assert [row["name"] for row in found["combiners"]] == ROWS
    for row in found["combiners"]:
        assert row["score"] is not None or row["note"], f"{row['name']} says nothing"
    assert found["winner"] in ROWS
    assert found["candidates"][0]["score"] >= found["candidates"][-1]["score"]
    test = found["test"]
    assert test["interval"][0] <= test["value"] <= test["interval"][1]
    assert test["value"] - test["best_single"] == pytest.approx(test["difference"])
    assert len(test["retraining"]["values"]) == 3
    assert found["model_uri"] == f"models:/breast-ultrasound-{task}/1"
    assert found["promoted"] == (found["why_promoted"] == "there was no champion")
    assert {"seconds", "why", "boost_rounds", "data"} <= set(found)
    verdict = found["verdict"]
    assert verdict["line"].startswith(f"{verdict['word']}: ")
    assert {check["floor"] for check in verdict["held_out"]["checks"]} == {True, False}
    if found["promoted"]:
        assert verdict["word"] in ("weak", "usable for research"), "nothing below the floor becomes champion"


def test_every_look_at_the_test_images_is_counted_across_tasks(home: Home) -> None:
    assert [home.first[task]["test"]["times_scored"] for task in ("seg", "cls", "multi")] == [1, 2, 3]


def test_lesion_shape_is_a_feature_where_there_are_masks(home: Home) -> None:
    for task in ("cls", "multi"):  # of the segmentation ensemble's masks, and of its own
        row = next(row for row in home.first[task]["combiners"] if row["name"] == "stacked")
        assert {"area", "solidity", "shadow"} <= set(row["weights"]["features"])


def test_runs_are_nested_of_their_kind_and_none_is_left_running(home: Home) -> None:
    found = runs(home.uri)
    assert {run.info.status for run in found} == {"FINISHED"}
    kinds = Counter((run.data.tags["task"], run.data.tags["kind"]) for run in found)
    for task in ("seg", "cls", "multi"):
        candidates = len(home.found(task)["candidates"])
        assert kinds[task, "ensemble"] == 1
        assert kinds[task, "fold"] == 2 * candidates
        rounds = [one for one in home.found(task)["boost_rounds"] if "epochs" in one]
        assert kinds[task, "boost"] == 3 * len(rounds)
    parents = {run.info.run_id: run.data.tags["kind"] for run in found}
    for run in found:
        if run.data.tags["kind"] in ("fold", "boost"):
            assert parents[run.data.tags["mlflow.parentRunId"]] == "ensemble"
        if run.data.tags["kind"] != "trial":
            assert not [name for name in run.data.metrics if name.startswith("best/")]
    assert all(len(ranking.ranked) == 2 for ranking in rank(read_trials(home.uri)))


@pytest.mark.parametrize("task", ["seg", "cls", "multi"])
def test_the_champion_is_a_model_that_predicts(home: Home, task: str) -> None:
    mlflow.set_tracking_uri(home.uri)
    image = next(file for file in sorted((home.phantom / "malignant").glob("*.png")) if "mask" not in file.stem)
    model = mlflow.pyfunc.load_model(f"models:/breast-ultrasound-{task}@champion")
    import pandas as pd

    (row,) = model.predict(pd.DataFrame({"image": [image.read_bytes()]})).to_dict("records")
    version = MlflowClient(home.uri).get_model_version_by_alias(f"breast-ultrasound-{task}", "champion")
    folder = home.folder / "runs" / ".cache" / "winners" / version.tags["digest"] / "ensemble"
    direct = Predictor.load(folder).predict(read_image(image))
    if task != "seg":
        assert row["malignant_score"] == pytest.approx(direct.malignant_score, abs=1e-4)
    if task != "cls":
        assert direct.mask is not None
        assert row["lesion_area"] == pytest.approx(direct.mask.sum(), rel=0.01)
    assert version.tags["data_fingerprint"] == home.found(task)["data"]["fingerprint"]
    assert version.tags["synthetic"] == "true"


def test_the_same_again_trains_nothing_scores_nothing_and_registers_nothing(
    home: Home, capfd: pytest.CaptureFixture[str]
) -> None:
    before, trained = home.found("seg"), home.trained()
    again = home.ensemble("seg", boost_rounds=1, name="seg", promote="always")
    assert home.trained() == trained
    assert "nothing is trained or fitted again" in capfd.readouterr().out
    assert again.model_uri == before["model_uri"]
    assert again.test.times_scored == 3
    assert again.model_dump(mode="json") == home.found("seg")
    assert again.test.value == before["test"]["value"]


def keep_models(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Fold models of candidates go to another folder than their search's, where there are some already."""
    real = MemberTrainer.fold_job

    def elsewhere(team: MemberTrainer, one: Candidate, fold: int) -> Job:
        return replace(real(team, one, fold), folder=folder / one.trial_id / f"fold-{fold}")

    monkeypatch.setattr(MemberTrainer, "fold_job", elsewhere)


def test_a_deadline_that_has_passed_leaves_what_is_called_optimistic(
    home: Home, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    keep_models(monkeypatch, home.folder / "no models yet")
    found = home.ensemble("cls", seed=1, promote="never", name="cls", time_budget="1s")
    assert found.lacks == ("out-of-fold predictions: the time budget ended",)
    assert found.winner in ("best", "mean", "boosted")
    assert not found.promoted
    assert "optimistic: same fold as selection" in found.why
    row = next(one for one in found.combiners if one.name == "boosted-trained")
    assert row.score is None
    assert row.note.startswith("needs out-of-fold predictions")
    said = capfd.readouterr().out
    assert "over the time budget: what" in said
    assert "--seed 1" in said.partition("to go on: ")[2], "the command that goes on"


def test_what_a_deadline_cuts_short_is_named_and_the_same_command_goes_on(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = home.folder / "models"
    keep_models(monkeypatch, models)

    def trained() -> dict[str, int]:
        return {str(file): file.stat().st_mtime_ns for file in models.glob("*/fold-?/best.safetensors")}

    with monkeypatch.context() as passes:
        # The time is over as soon as both candidates have a model of fold 1.
        left = property(lambda ending: 0.0 if len([one for one in trained() if "fold-1" in one]) == 2 else 1e6)
        passes.setattr(Deadline, "left", left)
        passes.setattr(Deadline, "over", lambda ending: ending.left == 0)
        found = home.ensemble("cls", seed=2, promote="never", name="cls", boost_rounds=1)
    assert found.lacks == ("1 of 2 compared folds: the time budget ended", "boost round 1: the time budget ended")
    assert found.out_of_fold
    assert found.compared.folds == (1,)
    assert len(found.test.retraining.values) == 2
    version = MlflowClient(home.uri).get_model_version(*found.model_uri.removeprefix("models:/").rsplit("/", 1))
    assert version.tags["lacks"].startswith("1 of 2 compared folds")
    before = trained()
    again = home.ensemble("cls", seed=2, promote="never", name="cls", boost_rounds=1)
    assert not again.lacks
    assert again.compared.folds == (1, 2)
    assert before.items() <= trained().items()
    assert again.boost_rounds[0].loss_falls_by is not None


def test_a_damaged_checkpoint_is_left_out_by_name(home: Home, capfd: pytest.CaptureFixture) -> None:
    rows = rank(read_trials(home.uri, None, "seg"))[0].ranked
    said: dict[str, str] = {}
    first, second = CandidateReader(rows, Storage(home.folder / "runs"), said.__setitem__)
    weights = first.checkpoint / "best.safetensors"
    whole = weights.read_bytes()
    try:
        weights.write_bytes(whole[: len(whole) // 2])
        left = list(CandidateReader(rows, Storage(home.folder / "runs"), said.__setitem__))
    finally:
        weights.write_bytes(whole)
    assert [one.name for one in left] == [second.name]
    assert "damaged" in said[first.name]


def test_a_member_is_not_scored_on_groups_that_it_was_trained_on(home: Home, tmp_path: Path) -> None:
    rows = rank(read_trials(home.uri, None, "seg"))[0].ranked
    first = next(iter(CandidateReader(rows, Storage(home.folder / "runs"), lambda name, why: None)))
    data = prepare(read_manifest(home.phantom), tmp_path, size=64, folds=3)
    refuse_overlap(first.checkpoint, data, data.fold_rows(0)[1])
    with pytest.raises(UserError, match=r"[1-9]\d* of \d+ images to be scored are of groups that it was trained on"):
        refuse_overlap(first.checkpoint, data, data.fold_rows(1)[1])
    assert np.intersect1d(data.fold_rows(0)[1], data.fold_rows(1)[1]).size == 0


@pytest.mark.long
def test_killed_among_folds_and_interrupted_among_boost_rounds_it_goes_on(
    phantom: Path, tmp_path: Path, ray_local: None
) -> None:
    home = Home(tmp_path, phantom)
    home.search("seg", ensemble=False, epochs=6)
    flags = ["--task", "seg", "--boost-rounds", "1", "--boost-epochs", "3"]

    def launch(number: int) -> Process:
        command = [sys.executable, "-m", "orchestrator.ensemble", *flags]
        return Process(command, tmp_path, {}, tmp_path / f"output {number}.txt")

    def count(pattern: str) -> int:
        return len(list((tmp_path / "runs").glob(pattern)))

    folds, boosts = "seg/folds/*/fold-?/best.safetensors", "seg/ensemble/boost/*/fold-?/best.safetensors"
    with launch(1) as first:
        first.until(lambda: count(folds) >= 1)
        first.kill()
    after_folds = home.trained()
    with launch(2) as second:
        second.until(lambda: count(boosts) >= 1)
        second.interrupt()
        assert "boost round 1: interrupted; to go on: " in second.end()
    assert home.found("seg")["lacks"] == ["boost round 1: interrupted"]
    after_boosts = home.trained()
    with launch(3) as third:
        third.end()
    trained = home.trained()
    assert after_folds.items() <= trained.items()
    assert after_boosts.items() <= trained.items()
    assert len(after_folds) < len(after_boosts) < len(trained)
    found = runs(home.uri)
    assert {run.info.status for run in found} == {"FINISHED"}
    kinds = Counter(run.data.tags["kind"] for run in found)
    assert (kinds["ensemble"], kinds["fold"], kinds["boost"]) == (1, 4, 3)
    rounds = home.found("seg")["boost_rounds"]
    assert home.found("seg")["test"]["times_scored"] == 1 + rounds[0]["accepted"], "once a winner"
