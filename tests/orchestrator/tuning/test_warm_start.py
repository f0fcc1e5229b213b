"""A study that begins with what an earlier search found out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from orchestrator.common.errors import UserError
from orchestrator.config.cli import make_settings
from orchestrator.config.search import SearchSettings
from orchestrator.storage.run_folder import RunFolder
from orchestrator.tuning import resume
from orchestrator.tuning.identity import Identity
from orchestrator.tuning.ledger import Ledger
from orchestrator.tuning.searcher import open_study
from orchestrator.tuning.warm_start import finished_trials

if TYPE_CHECKING:
    from tests.support.s3_server import Bucket

CHOICES: list[list[Any]] = [["unet", "", 12, ""], ["fpn", "resnet18", 12, ""]]
IDENTITY = Identity(task="seg", data_fingerprint="f" * 64, choices=CHOICES)


def _settings(folder: Path, **fields: Any) -> SearchSettings:
    return resume.load({"storage": folder, "tracking_uri": "sqlite:///x.db", **fields})


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """A search of three trials, of which two finished."""
    settings = _settings(tmp_path, name="first")
    settings.folder.mkdir()
    resume.write(settings.folder, settings.stored())
    ledger = Ledger(settings.folder)
    ledger.launch(IDENTITY, 0)
    ledger.close()
    study = open_study(settings.folder, "first")
    for value in (0.4, 0.7, None):
        trial = study.ask()
        trial.suggest_float("lr", 1e-4, 1e-2, log=True)
        if value:
            study.tell(trial, value)
    return tmp_path


def _warm(folder: Path, identity: Identity, **fields: Any) -> list[Any]:
    settings = _settings(folder, name="second", warm_start="first", **fields)
    return [trial.value for trial in finished_trials(settings, identity)]


def test_finished_trials_are_known_and_their_search_stays_as_it_is(earlier: Path) -> None:
    before = RunFolder(earlier / "first").study.read_bytes()
    assert _warm(earlier, IDENTITY) == [0.4, 0.7]
    assert RunFolder(earlier / "first").study.read_bytes() == before


def test_under_a_uri_it_is_fetched_first(
    earlier: Path, bucket: Bucket, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in (file for file in (earlier / "first").iterdir() if file.is_file()):
        bucket.put(f"runs/first/{file.name}", file.read_bytes())
    monkeypatch.chdir(tmp_path_factory.mktemp("other host"))
    settings = make_settings(
        SearchSettings,
        {"storage": f"{bucket.uri}/runs", "tracking_uri": "sqlite:///x.db", "name": "second", "warm_start": "first"},
    )
    assert [trial.value for trial in finished_trials(settings, IDENTITY)] == [0.4, 0.7]


def test_a_search_that_died_before_its_first_trial_has_nothing_to_give(earlier: Path) -> None:
    RunFolder(earlier / "first").ledger.write_text("")
    with pytest.raises(UserError, match="--warm-start first: it has no trials yet"):
        _warm(earlier, IDENTITY)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"task": "cls"}, "task seg there, cls here"),
        ({"classes": 2}, "classes 3 there, 2 here"),
        ({"data_fingerprint": "a" * 64}, "data fingerprint ffffffffffff there, aaaaaaaaaaaa here"),
        ({"choices": [["unet", "", 12, ""], ["pan", "resnet18", 12, ""]]}, "architectures fpn resnet18 there, pan"),
    ],
)
def test_another_space_is_refused_with_the_difference(earlier: Path, change: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError, match=named):
        _warm(earlier, replace(IDENTITY, **change))


def test_another_batch_size_is_another_space(earlier: Path) -> None:
    with pytest.raises(UserError, match="batch_size None there, 8 here"):
        _warm(earlier, IDENTITY, batch_size=8)


def test_an_unknown_search_lists_those_there_are(earlier: Path) -> None:
    settings = _settings(earlier, name="second", warm_start="frist")
    with pytest.raises(UserError, match=r"--warm-start: no search 'frist' in .* \(there are first\)"):
        finished_trials(settings, IDENTITY)


def test_resumed_settings_are_those_of_the_search(earlier: Path) -> None:
    resumed = _settings(earlier, resume="first", trials=50)
    assert (resumed.name, resumed.trials, resumed.time_budget) == ("first", 50, 360)
    with pytest.raises(UserError, match="resume first: --epochs is 12 in this search, not 5; leave it out"):
        _settings(earlier, resume="first", epochs=5)
    with pytest.raises(UserError, match="--task is seg in this search, not cls"):
        _settings(earlier, resume="first", task="cls")
    with pytest.raises(UserError, match=r"no search 'other' in .* \(there are first\)"):
        _settings(earlier, resume="other")


def test_stored_settings_are_plain_yaml(earlier: Path) -> None:
    assert yaml.safe_load(RunFolder(earlier / "first").settings.read_text())["trials"] == 6
