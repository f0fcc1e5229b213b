"""What figures do not show is said first: that most images were left out, and images that the model failed on."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from orchestrator.evaluate import external
from orchestrator.evaluate.__main__ import main
from orchestrator.evaluate.findings import most_left_out
from orchestrator.evaluate.leakage import UnseenImages
from orchestrator.inference.format import LearntFrom
from tests.support.evaluations import copy, evaluate, images_of, knowing, page_of
from tests.support.products import give_nan, small_product
from trainables.data import Fault
from trainables.data.pixels import read_image


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(external, "INTERVAL", 40)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def cls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    nothing = LearntFrom(np.zeros((0, 128), np.uint8), 50)
    return small_product(tmp_path_factory.mktemp("cls"), "cls", networks=1, learnt_from=nothing)


@pytest.fixture
def data(phantom: Path, tmp_path: Path) -> Path:
    for name in ("benign", "malignant"):
        for image in images_of(phantom, name)[:6]:
            copy(image, tmp_path / "data" / name / image.name)
    return tmp_path / "data"


def unseen(scored: int, seen: int = 0, faulty: int = 0, **passed_over: int) -> UnseenImages:
    labels = np.zeros(scored, np.int64)
    faults = (Fault(Path("a.png"), "known"),) * seen
    rows: list = [None] * scored
    return UnseenImages(rows, labels, labels, labels > 0, faults, (), passed_over, faulty, (), 50, 50)


def test_more_than_half_left_out_is_a_warning_with_what_to_do() -> None:
    assert most_left_out(unseen(190, seen=400, faulty=10)) == [
        "Warning: 410 of 600 images were left out (known to the model 400, faulty 10): the figures are of the rest, "
        "which may be a special part; use images of other patients, or a model that was not trained on them."
    ]
    assert most_left_out(unseen(10, seen=4, faulty=6)) == []
    assert "mend the files that are listed" in most_left_out(unseen(10, seen=4, faulty=7))[0]
    assert "classes or masks that are lacking" in most_left_out(unseen(1, **{"the mask is not known": 3}))[0]
    lost = dataclasses.replace(unseen(1), unanswered=(Fault(Path("a.png"), "no number"),) * 2)
    assert "(no number of the model 2)" in most_left_out(lost)[0]


def test_the_warning_stands_first_everywhere(cls: Path, data: Path, tmp_path: Path, capsys) -> None:
    known = [*images_of(data, "benign"), images_of(data, "malignant")[0]]
    model = knowing(cls, tmp_path / "model", known[0], files=tuple(known))
    found = evaluate(model, data, tmp_path / "out.html")
    line = found["told"][0]
    assert line.startswith(f"Warning: {12 - found['images']} of 12 images were left out (known to the model ")
    said = capsys.readouterr().out.splitlines()
    assert f"        {line}" in said
    assert said.index(f"        {line}") < next(i for i, one in enumerate(said) if "Scored: " in one)
    text = page_of(tmp_path / "out.html").text
    assert text.count(line) == 1
    assert text.index(line) < text.index("Can I use it?")
    evaluate(model, data, tmp_path / "out.md", "--format", "md")
    lines = [one for one in (tmp_path / "out.md").read_text().splitlines() if one]
    assert "images were left out" in lines[1]


def test_images_that_the_model_fails_on_are_listed_and_in_no_figure(
    cls: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = images_of(data, "benign")[2]
    pixels = read_image(bad)
    give_nan(monkeypatch, lambda image: np.array_equal(image, pixels))
    found = evaluate(cls, data, tmp_path / "out.html")
    assert found["images"] == 11
    assert [one["file"] for one in found["unanswered"]] == [f"benign/{bad.name}"]
    assert found["unanswered"][0]["problem"] == "the model gives no number for it (NaN or infinity)"
    assert any(line.startswith("Warning: 1 image left out of all figures") for line in found["told"])
    assert 0 <= found["external"]["scores"]["auroc"]["value"] <= 1
    assert f"benign/{bad.name}" in page_of(tmp_path / "out.html").rows("Without a number of the model: 1 row")


def test_a_model_that_fails_on_all_is_one_line(
    cls: Path, data: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_nan(monkeypatch, lambda image: True)
    assert main(["--model", str(cls), "--data", str(data)]) == 2
    error = capsys.readouterr().err
    assert "no image is left to score, of 12 that the model was asked about: the model gives no number" in error
    assert error.count("\n") == 1
    assert not list(tmp_path.glob("evaluation.*"))
