"""External validation: what the data or the model lack is said, and nothing untrue or half is shown in its place."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from orchestrator.evaluate import external
from orchestrator.inference.format import RESULTS, LearntFrom
from tests.support.evaluations import copy, evaluate, images_of, mask_of, page_of
from tests.support.products import small_product
from trainables.data.pixels import read_image

POINTS = [
    {"kept": "specificity", "rate": 0.9, "threshold": 0.3},
    {"kept": "sensitivity", "rate": 0.95, "threshold": 0.1},
]


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(external, "INTERVAL", 40)


@pytest.fixture(scope="module")
def multi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    nothing = LearntFrom(np.zeros((0, 128), np.uint8), 50)
    folder = tmp_path_factory.mktemp("multi")
    return small_product(folder, "multi", networks=1, operating_points=POINTS, learnt_from=nothing)


def unmasked(phantom: Path, folder: Path) -> Path:
    """A table without the mask of any lesion; normals have an empty one."""
    lines = ["image,mask,label"]
    folder.mkdir()
    for name in ("normal", "benign", "malignant"):
        for image in images_of(phantom, name)[:6]:
            shutil.copy(image, folder)
            lines.append(f"{image.name},,{name}")
    (folder / "all.csv").write_text("\n".join(lines))
    return folder / "all.csv"


def test_where_the_mask_of_no_lesion_is_known(multi: Path, phantom: Path, tmp_path: Path) -> None:
    found = evaluate(multi, unmasked(phantom, tmp_path / "data"), tmp_path / "out.html")
    said = " ".join(found["told"])
    assert "The mask of no lesion is known: figures of masks are of 6 normals alone." in said
    assert "has a lesion" not in said
    scores = found["external"]["scores"]
    assert not {"dice", "iou", "dice_all", "hd95", "miou", "score"} & set(scores)
    assert {"fpr_normal", "auroc"} <= set(scores)
    page = page_of(tmp_path / "out.html")
    assert "Dice of all images" not in page.text
    assert "with a known lesion mask" in page.text
    assert "with a lesion" not in page.text.replace("images with a lesion", "")


def test_where_all_images_are_normal_dice_of_all_images_is_theirs(multi: Path, phantom: Path, tmp_path: Path) -> None:
    for image in images_of(phantom, "normal")[:5]:
        copy(image, tmp_path / "data" / "normal" / image.name)
    found = evaluate(multi, tmp_path / "data", tmp_path / "out.html")
    assert "No image that is scored has a lesion" in " ".join(found["told"])
    scores = found["external"]["scores"]
    assert scores["dice_all"]["value"] == pytest.approx(1 - scores["fpr_normal"]["value"])


@pytest.mark.slow
def test_operating_points_are_paired_by_what_they_keep(multi: Path, phantom: Path, tmp_path: Path) -> None:
    first = evaluate(multi, phantom, tmp_path / "first.html")["external"]
    model = tmp_path / "model"
    shutil.copytree(multi, model)
    sensitivity = first["operating_points"][1]
    other = {**first["operating_points"][0], "rate": 0.8, "threshold": 0.77}
    test = {**first, "operating_points": [sensitivity, other]}
    (model / RESULTS).write_text(json.dumps(_results(test)))
    evaluate(model, phantom, tmp_path / "out.html")
    rows = page_of(tmp_path / "out.html").table("Malignant against the rest")[1:]
    assert [row[:3] for row in rows] == [
        ["90 % specificity", "external", "0.300"],
        ["", "internal", "-"],
        ["95 % sensitivity", "external", "0.100"],
        ["", "internal", "0.100"],
        ["80 % specificity", "external", "-"],
        ["", "internal", "0.770"],
    ]
    assert rows[1][3:] == rows[4][3:] == ["-", "-", "-"]
    assert rows[2][3:] == rows[3][3:]


def test_one_image_with_two_masks_is_two(multi: Path, phantom: Path, tmp_path: Path) -> None:
    """Each has its own mask in the tables and pictures, and its own sub-group."""
    lines = ["image,mask,label,machine"]
    for number, image in enumerate(images_of(phantom, "benign")[:4]):
        copy(image, tmp_path / f"{number}.png")
        lines.append(f"{number}.png,{number}_mask.png,benign,old")
    copy(images_of(phantom, "benign")[0], tmp_path / "again.png")
    mask = read_image(mask_of(tmp_path / "again.png")).copy()
    rows = np.flatnonzero(mask.any(1))
    mask[rows[len(rows) // 2] :] = 0
    Image.fromarray(mask).save(mask_of(tmp_path / "again.png"))
    (tmp_path / "all.csv").write_text("\n".join([*lines, "again.png,again_mask.png,benign,new"]))
    found = evaluate(multi, tmp_path / "all.csv", tmp_path / "out.html")
    assert (found["images"], found["groups"]) == (5, 4)
    page = page_of(tmp_path / "out.html")
    by_machine = page.rows("By machine")
    assert set(by_machine) == {"old", "new"}
    assert by_machine["old"][:2] == ["external", "4"], "images with a lesion"
    assert by_machine["new"][:2] == ["external", "1"]
    by_size = [row[2] for row in page.table("By size of the lesion")[1:]]
    assert sorted(by_size) == ["1", "2", "2"], "the smaller mask counts with its own size"


@pytest.mark.parametrize("side", ["model", "data", "neither"])
def test_synthetic_on_either_side_is_among_the_limits(phantom: Path, tmp_path: Path, side: str) -> None:
    model = small_product(tmp_path, "cls", networks=1, synthetic=side == "model")
    data = phantom
    if side != "data":
        data = tmp_path / "data"
        for image in images_of(phantom, "benign")[:3]:
            copy(image, data / "benign" / image.name)
    found = evaluate(model, data, tmp_path / "out.html")
    assert found["external"]["synthetic"] is (side != "neither")
    assert ("SYNTHETIC" in page_of(tmp_path / "out.html").sections["answer"]) is (side != "neither")


def _results(test: dict[str, Any]) -> dict[str, Any]:
    held_out = {"metric": "score", "value": 0.5, "standard_error": 0.1, "images": 20, "optimistic": False}
    return {"held_out": held_out, "test": test, "test_images": {"benign": 20, "malignant": 20}}
