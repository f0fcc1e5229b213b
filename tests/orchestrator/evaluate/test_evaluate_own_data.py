"""External validation on a model's own data: its test images alone are left, and score as they did; real searches."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from PIL import Image

from orchestrator.inference import mlflow_model
from orchestrator.scoring import predictions
from tests.support.evaluations import evaluate, images_of, page_of
from tests.support.home import Home
from trainables.data.pixels import read_image

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("task", ["seg", "cls", "multi"])
def test_on_its_own_data_a_model_is_scored_on_its_test_images_alone(home: Home, task: str, tmp_path: Path) -> None:
    version = MlflowClient(home.uri).get_model_version_by_alias(f"breast-ultrasound-{task}", "champion")
    winner = home.folder / "runs" / ".cache" / "winners" / version.tags["digest"]
    model = f"models:/breast-ultrasound-{task}@champion"
    found = evaluate(model, home.phantom, tmp_path / "out.html", "--tracking-uri", home.uri)
    expected = json.loads((winner / "test.json").read_text())
    figures = found["external"]
    assert found["images"] == len(predictions.TestPredictions.load(winner / "test.npz")) < len(found["left_out"])
    assert {name: score["value"] for name, score in figures["scores"].items()} == pytest.approx(
        {name: score["value"] for name, score in expected["scores"].items()}, rel=0.01, abs=0.002
    )
    assert figures["confusion"].get("classes") == expected["confusion"].get("classes")
    for here, there in zip(figures["operating_points"], expected["operating_points"], strict=True):
        assert here == there
    assert found["internal"]["test"]["scores"] == expected["scores"]
    assert found["internal"]["test_images"] == {"unknown": 0} | {
        name: found["class_counts"].get(name, 0) for name in ("normal", "benign", "malignant")
    }
    assert "SYNTHETIC: both" in " ".join(found["told"])
    page = page_of(tmp_path / "out.html")
    for row in page.table("Scores at original size")[1:]:
        assert row[2] != "-", row


def test_an_exported_folder_needs_no_store_and_knows_its_near_duplicates(
    home: Home, tmp_path: Path, monkeypatch
) -> None:
    """Also of training images that were made brighter, or cropped and stored as JPEG."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    winner = home.folder / "runs" / ".cache" / "winners" / home.found("cls")["digest"]
    mlflow_model.save(tmp_path / "exported", winner / "ensemble")
    found = evaluate(tmp_path / "exported", home.phantom, tmp_path / "out.html")
    expected = json.loads((winner / "test.json").read_text())
    assert found["external"]["confusion"] == expected["confusion"]
    assert found["internal"]["held_out"]["value"] is not None
    known, new = [home.phantom / one["file"] for one in found["left_out"]], tmp_path / "new" / "benign"
    unseen = next(file for file in images_of(home.phantom, "benign") if file not in known)
    new.mkdir(parents=True)
    shutil.copy(unseen, new)
    benign = [file for file in known if file.parent.name == "benign"]
    brighter = np.clip(read_image(benign[0]).astype(int) + 5, 0, 255).astype(np.uint8)
    Image.fromarray(brighter).save(new / "brighter.png")
    crop = read_image(benign[1])
    Image.fromarray(crop[2 : -len(crop) // 50, len(crop[0]) // 50 :]).save(new / "crop.jpg")
    again = evaluate(tmp_path / "exported", tmp_path / "new", tmp_path / "again.html")
    assert {Path(one["file"]).name for one in again["left_out"]} == {"brighter.png", "crop.jpg"}
    assert again["images"] == 1
