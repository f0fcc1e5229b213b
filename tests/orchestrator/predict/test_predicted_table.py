"""The table: what predicted, cells that no spreadsheet runs, and images that the model failed on."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from orchestrator.inference.format import RESULTS
from orchestrator.predict import __main__ as command
from orchestrator.predict.load import Versioned, load_predictor
from orchestrator.scoring.checks import Check
from orchestrator.scoring.verdict import Judgement, Verdict
from tests.support.products import give_nan, pictures


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def save(name: str, image: np.ndarray) -> None:
    Image.fromarray(image).save(name, format="PNG")


def table() -> list[dict[str, str]]:
    with open("out/predictions.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def run(model: object, *images: str) -> int:
    return command.main(["--task", "multi", "--model", str(model), "--out", "out", *images])


def test_the_table_names_what_predicted(multi: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save("a.png", pictures(1)[0])
    assert run(multi, "a.png") == 0
    (row,) = table()
    assert (row["model"], row["version"], row["threshold"]) == (str(multi), "", "0.2")
    monkeypatch.setattr(command, "load_versioned", lambda model, uri, device: Versioned(load_predictor(multi), "3", ""))
    assert run("models:/x@champion", "a.png") == 0
    (row,) = table()
    assert (row["model"], row["version"], row["threshold"]) == ("models:/x@champion", "3", "0.2")


def test_a_spreadsheet_finds_no_formula(multi: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["=HYPERLINK(1).png", "+1.png", "@x.png", "plain.png"]
    for name in names:
        save(name, pictures(1)[0])
    assert run(multi, *names) == 0
    assert [row["file"] for row in table()] == [f"'{name}" for name in names[:3]] + ["plain.png"]
    assert all(row["malignant_score"][0].isdigit() for row in table()), "numbers stay numbers"


def test_names_are_harmless_in_the_terminal(multi: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save("ok.png", pictures(1)[0])
    Path("\x1b[2Jbad\nskipped: b.png").write_text("no image")
    assert run(multi, "ok.png", "\x1b[2Jbad\nskipped: b.png") == 3
    assert capsys.readouterr().err == r"skipped: \x1b[2Jbad\nskipped: b.png: not an image" + "\n"


def test_what_the_model_fails_on_is_listed_and_has_no_result(
    multi: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    images = pictures(3)
    for name, image in zip("abc", images, strict=True):
        save(f"{name}.png", image)
    give_nan(monkeypatch, lambda image: image.shape == images[1].shape)
    assert run(multi, "a.png", "b.png", "c.png") == 3
    good, bad, _ = table()
    told = {"file", "model", "threshold"}
    assert {name for name, value in bad.items() if value} == told
    assert good["above_threshold"] in ("0", "1")
    assert sorted(path.name for path in Path("out/masks").iterdir()) == ["a.png", "c.png"]
    said = capsys.readouterr()
    assert said.err == "no result: b.png: the model gives no number for it (NaN or infinity)\n"
    assert said.out.splitlines()[-1].startswith("2 predicted, ")
    assert ", 1 without a result: results in out" in said.out


def test_the_summary_says_what_the_model_may_be_called(multi: Path, tmp_path: Path, capsys) -> None:
    own = tmp_path / "model"
    shutil.copytree(multi, own)
    save("a.png", pictures(1)[0])
    assert run(own, "a.png") == 0
    assert "the model is without a verdict" in capsys.readouterr().out
    check = Check(claim="0 of 90 lesions are found", value=0.0, interval=None, n=90, side="against", floor=True)
    verdict = Verdict.of(Judgement(word="not usable", checks=(check,)), None)
    (own / RESULTS).write_text(json.dumps({"verdict": verdict.model_dump()}))
    assert run(own, "a.png") == 0
    assert "the model is not usable: 0 of 90 lesions are found" in capsys.readouterr().out
    (own / RESULTS).write_text('{"verdict": 3}')
    assert run(own, "a.png") == 2
    assert "damaged" in capsys.readouterr().err
