"""Plugins in a search's settings: they run before what they register is named, and a resumed search has the same."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from orchestrator import UserError
from orchestrator.cluster.workers import _Worker
from orchestrator.config.search import SearchSettings
from orchestrator.ensemble.candidates import search_settings
from orchestrator.tuning import resume
from search_spaces import seg
from tests.support.plugins import forgotten
from trainables import plugins
from trainables.data import Prepared
from trainables.trial import Trial, TrialContext

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "my_models.py"
FIELDS = {"task": "seg", "name": "own", "arch": "dilated_net", "tracking_uri": "sqlite:///x.db"}


@pytest.fixture(autouse=True)
def _only_here() -> Iterator[None]:
    with forgotten():
        yield


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    return Path(shutil.copy(EXAMPLE, tmp_path / "my_models.py"))


@pytest.fixture
def search(plugin: Path, tmp_path: Path) -> SearchSettings:
    """A search that has begun, in another process."""
    with forgotten():
        settings = resume.load({**FIELDS, "storage": tmp_path / "runs", "plugin": str(plugin)})
        resume.make_folder(settings.folder, settings.stored())
        return settings


def test_settings_name_what_a_plugin_registers(search: SearchSettings, plugin: Path) -> None:
    assert search.arch == ("dilated_net",)
    assert search.plugin == (plugin,)
    stored = resume.stored(search.home, "own")
    assert stored["plugins"] == {"my_models": sha256(plugin.read_bytes()).hexdigest()}
    with pytest.raises(UserError, match="--arch: unknown architecture 'dilated_net'"):
        resume.load(FIELDS)


def test_a_resumed_search_and_an_ensemble_find_the_file(search: SearchSettings) -> None:
    with forgotten():
        assert resume.load({"resume": "own", "storage": search.storage}).arch == ("dilated_net",)
    assert search_settings(search.home, "own").arch == ("dilated_net",)


def test_a_file_that_has_moved_is_given_anew(search: SearchSettings, plugin: Path, tmp_path: Path) -> None:
    moved = plugin.rename(tmp_path / "runs" / "my_models.py")
    again = {"resume": "own", "storage": search.storage}
    with pytest.raises(UserError, match=r"^--resume own: --plugin .*my_models.py: No such file"):
        resume.load(again)
    assert resume.load({**again, "plugin": [str(moved)]}).plugin == (moved,)


def test_a_file_that_has_changed_is_refused(search: SearchSettings, plugin: Path) -> None:
    plugin.write_text(plugin.read_text() + "\n# changed\n")
    with forgotten(), pytest.raises(UserError, match=r"^--resume own: it needs the plugin my_models of SHA-256"):
        resume.load({"resume": "own", "storage": search.storage})
    with pytest.raises(UserError, match=r"^own: it needs the plugin my_models of SHA-256"):
        search_settings(search.home, "own")


def test_workers_have_the_plugins_of_the_driver(plugin: Path, prepared: Prepared) -> None:
    with forgotten():
        plugins.load(plugin)
        shared = pickle.dumps(TrialContext("seg", prepared, plugins=plugins.loaded()))
    plugin.unlink()  # as on another host
    context = pickle.loads(shared)
    with forgotten():
        assert _Worker(0).call(context.plugins, seg.architecture, "dilated_net").name == "dilated_net"
    config = {**seg.HOUSE, "architecture": "dilated_net", "encoder": "", "loss": "log_cosh_dice", "dropout": 0.1}
    config |= {"augmentation": "speckle", "warmup_epochs": 0, "image_size": 64, "seed": 0, "epochs": 1, "classes": 3}
    trial = Trial.__new__(Trial)
    trial.setup(config, context)
    assert trial.step()["best/epoch"] == 1
