"""What a search tries, and the same again when it is resumed."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import optuna
import pytest
import timm

from orchestrator.cluster.resources import TrialResources
from orchestrator.common.errors import UserError
from orchestrator.config.cli import make_settings
from orchestrator.config.search import SearchSettings
from orchestrator.tuning.identity import Identity
from orchestrator.tuning.plan import Plan, each_once, make_plan
from orchestrator.tuning.resume import check_identity
from search_spaces import SPACES
from trainables import device_batches
from trainables.data import Prepared
from trainables.models import provenance
from trainables.models.provenance import Provenance

ONE_CORE = TrialResources(slots=1, cpus=1, gpus=0)


def _settings(folder: Path, **fields: Any) -> SearchSettings:
    given = {"data": folder, "storage": folder, "tracking_uri": "sqlite:///x.db", "weights": "none", "image_size": 64}
    return make_settings(SearchSettings, {**given, **fields})


def _plan(folder: Path, data: Prepared, identity: Identity | None = None, **fields: Any) -> Plan:
    return make_plan(_settings(folder, **fields), data, ONE_CORE, identity)


@pytest.mark.parametrize("task", ["seg", "cls", "multi"])
def test_every_architecture_has_a_first_point_where_trials_allow(tmp_path: Path, prepared: Prepared, task: str) -> None:
    known = set(SPACES[task].ARCHITECTURES)
    points = _plan(tmp_path, prepared, task=task, trials=40 * len(known)).first_points
    assert {point["architecture"] for point in points} == known
    few = _plan(tmp_path, prepared, task=task, trials=8).first_points
    assert 1 < len(few) <= 4


def test_first_points_cost_at_most_a_third_of_the_search() -> None:
    costs = {"usual": 1.0, "dear": 3.0, "cheap": 0.5, "dearest": 12.0}
    house, recipe = {"architecture": "usual", "lr": 1e-3}, {"architecture": "dearest", "lr": 1e-4}
    tried = {
        trials: [point["architecture"] for point in each_once([house, recipe], costs, trials)]
        for trials in (1, 3, 6, 15, 60)
    }
    assert tried[1] == tried[3] == ["usual"]
    assert tried[6] == ["usual", "cheap"]
    assert tried[15] == ["usual", "cheap", "dear"]
    assert tried[60] == ["usual", "dearest", "cheap", "dear"]


def test_a_first_point_of_an_architecture_alone_is_completed_by_the_sampler(tmp_path: Path, prepared: Prepared) -> None:
    plan = _plan(tmp_path, prepared, arch=("unet", "fpn", "linknet"), trials=12)
    study = optuna.create_study()
    tried = []
    for point in plan.first_points:
        study.enqueue_trial(point)
        tried.append(plan.space(study.ask()))
    assert [config["architecture"] for config in tried] == [point["architecture"] for point in plan.first_points]
    assert {config["architecture"] for config in tried} == {"unet", "fpn", "linknet"}


def test_a_warm_start_does_not_begin_with_what_is_known(tmp_path: Path, prepared: Prepared) -> None:
    assert _plan(tmp_path, prepared, trials=6).first_points
    assert not _plan(tmp_path, prepared, trials=6, warm_start="earlier").first_points


def test_a_resumed_search_tries_what_it_did(tmp_path: Path, prepared: Prepared) -> None:
    plan = _plan(tmp_path, prepared, trials=6)
    stored = json.dumps(asdict(plan.identity(_settings(tmp_path), prepared)))
    identity = Identity(**json.loads(stored))
    again = _plan(tmp_path, prepared, identity, trials=60)
    assert again.first_points == plan.first_points
    assert again.choices == plan.choices
    assert again.trials == 60


def test_a_search_goes_on_only_with_the_plugins_that_it_had() -> None:
    before = Identity(plugins={"own": "0" * 64})
    check_identity(before, before, "night")
    changed = (
        ({"own": "1" * 64}, "have changed"),
        ({}, "are none, and were own"),
        ({"own": "0" * 64, "b": ""}, "are own, b"),
    )
    for now, words in changed:
        with pytest.raises(UserError, match=rf"^--resume night: plugins {words}"):
            check_identity(Identity(plugins=now), before, "night")


def test_a_search_goes_on_only_where_its_images_are_augmented_as_before(
    tmp_path: Path, prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = _settings(tmp_path)
    on_cpu, on_gpu = (make_plan(settings, prepared, TrialResources(1, 1, gpus)) for gpus in (0.0, 0.5))
    before, now = (plan.identity(settings, prepared) for plan in (on_gpu, on_cpu))
    check_identity(before, before, "night")
    with pytest.raises(UserError, match=r"^--resume night: its images were augmented on a GPU and would be on a CPU"):
        check_identity(now, before, "night")
    stored = {name: value for name, value in asdict(now).items() if name != "augmented_on"}
    check_identity(now, Identity(**stored), "of a version that had the CPU's draws alone")
    monkeypatch.setattr(device_batches, "MOST", 0)  # too many images for a GPU: the host augments
    assert make_plan(settings, prepared, TrialResources(1, 1, 1.0)).augmented_on == "cpu"


def test_weights_that_may_have_seen_the_images_are_warned_of(tmp_path: Path, prepared: Prepared) -> None:
    encoder = "mobilenetv3_small_100"
    said = Provenance("somebody", "", "UltraSam", (0.5,) * 3, (0.5,) * 3)
    provenance.write(tmp_path / f"{encoder}.safetensors", timm.create_model(encoder).state_dict(), said)
    busi = replace(prepared, synthetic=False, files=tuple(f"/BUSI/{Path(file).name}" for file in prepared.files))
    fields = {"task": "cls", "arch": ("mobilenetv3_small",), "weights": str(tmp_path)}
    plan = _plan(tmp_path, busi, **fields)
    assert f"weights: {encoder} (folder, UltraSam)" in plan.notes
    (warned,) = [note for note in plan.notes if note.startswith("warning: ")]
    assert "the authors of UltraSam list BUSI" in warned
    assert plan.weights_source(encoder) == "folder, UltraSam"
    again = _plan(tmp_path, busi, plan.identity(_settings(tmp_path, **fields), busi), **fields)
    assert warned in again.notes, "a resumed search says so, too"
    assert not any("warning" in note for note in _plan(tmp_path, prepared, **fields).notes), (
        "of phantom images it says none"
    )
