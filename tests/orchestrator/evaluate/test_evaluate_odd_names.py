"""Evaluation of images in a folder whose name is no UTF-8; networks are in none, as safetensors does not take it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from orchestrator.evaluate import external
from orchestrator.evaluate.__main__ import main
from orchestrator.inference.format import LearntFrom
from tests.support.evaluations import evaluate
from tests.support.products import small_product

ODD = os.fsdecode(b"caf\xe9")


@pytest.mark.slow
@pytest.mark.parametrize("format", ["html", "md"])
def test_folders_that_are_no_utf8(
    format: str, phantom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(external, "INTERVAL", 40)
    monkeypatch.chdir(tmp_path)
    nothing = LearntFrom(np.zeros((0, 128), np.uint8), 50)
    model = small_product(tmp_path / "made", "seg", networks=1, learnt_from=nothing)
    data = shutil.copytree(phantom, tmp_path / f"{ODD} data")
    for file in data.rglob("*.png"):
        file.rename(file.with_name(f"{ODD} {file.name}"))
    assert main(["--model", str(tmp_path / ODD), "--data", str(data)]) == 2
    found = evaluate(model, data, tmp_path / f"{ODD}.{format}", "--format", format)
    assert found["images"] == 40
    assert found["data"] == str(data), "the folder is found again"
    said = capsys.readouterr().out
    assert rf"figures in {tmp_path}/caf\udce9.json" in said
