"""Folders whose names are no UTF-8: what is kept of them is, each is told from others, and can be read again."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from PIL import Image

from orchestrator.config.cli import make_settings, run_command
from orchestrator.config.command import CommandSettings
from orchestrator.config.search import SearchSettings
from orchestrator.eda.__main__ import main as eda
from orchestrator.storage.result import Result
from orchestrator.tracking import datasets
from orchestrator.tracking.tracker import Tracker
from orchestrator.tuning import resume
from trainables.data import prepare, read_manifest
from trainables.data.sources import read_sources
from trainables.data.words import written

ONE, OTHER = os.fsdecode(b"caf\xe9"), os.fsdecode(b"caf\xe8")


@pytest.fixture(scope="module")
def folders(phantom: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    home = tmp_path_factory.mktemp("odd")
    for name in (ONE, OTHER):
        shutil.copytree(phantom, home / name)
        for file in (home / name).rglob("*.png"):
            file.rename(file.with_name(f"{ONE} {file.name}"))
    return [home / ONE, home / OTHER]


class _Named(Result, frozen=True):
    name: str
    parts: tuple[str, ...]


def test_results_are_read_again(tmp_path: Path) -> None:
    given = _Named(name=ONE, parts=(OTHER,))
    (tmp_path / "a.json").write_text(given.to_json(), encoding="utf-8")
    assert _Named.read(tmp_path / "a.json") == given


def test_what_a_command_prints_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("any", lambda settings: print(ONE), CommandSettings, [], None) == 0
    assert capsys.readouterr().out == "caf\\udce9\n"


def test_settings_of_a_search_are_kept_and_read_again(folders: list[Path], tmp_path: Path) -> None:
    settings = make_settings(SearchSettings, {"data": folders, "name": "a", "storage": tmp_path, "test_source": ONE})
    resume.make_folder(tmp_path / "a", settings.stored())
    assert resume.stored(tmp_path, "a")["data"] == [str(folder) for folder in folders]
    assert settings.test_source == written(ONE)


def test_sources_are_told_apart(folders: list[Path], tmp_path: Path) -> None:
    manifest = read_sources(folders)
    assert manifest.sources == (r"caf\udce9", r"caf\udce8")
    prepared = prepare(read_manifest(folders[0]), tmp_path, size=32)
    assert any(ONE in Path(file).name for file in prepared.files)


def test_mlflow_keeps_them(folders: list[Path], store: str, prepared) -> None:
    tracker = Tracker(store, "odd", tags={})
    told = datasets.dataset(prepared, str(folders[0]))
    run = tracker.start_search("a", {"data": list(map(str, folders))}, {"data_source": str(folders[0])}, data=told)
    tracker.end_search("FINISHED", {}, {"note": ONE})
    assert tracker.close()
    found = MlflowClient(store).get_run(run)
    assert found.data.params["data"] == ", ".join(written(str(folder)) for folder in folders)
    assert found.data.tags["data_source"] == written(str(folders[0]))
    assert found.data.tags["note"] == r"caf\udce9"
    assert found.inputs.dataset_inputs[0].dataset.name == r"caf\udce9"


@pytest.mark.parametrize("format", ["html", "json"])
def test_eda_shows_both(format: str, folders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    out = tmp_path / f"eda.{format}"
    given = ["--data", *map(str, folders), "--duplicate-distance", "0", "--folds", "2"]
    assert eda([*given, "--out", str(out), "--format", format]) == 0
    text = out.read_bytes().decode("utf-8")
    assert r"\udce9" in text
    assert r"\udce8" in text
    if format == "json":
        json.loads(text)


def test_a_table_with_a_nul_byte_is_refused_or_its_row_is(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "a.csv").write_bytes(b"image,label\na.png,benign\na\0.png,benign\n")
    with pytest.raises(ValueError, match="NUL byte"):
        read_manifest(tmp_path / "a.csv")
