"""`eda --format json`: what is in the data, by source."""

from __future__ import annotations

import json
from pathlib import Path

from orchestrator.eda.__main__ import main
from tests.support import two_sets
from trainables.data import CLASSES, write_phantom


def inventory(data: Path, folder: Path) -> dict:
    out = folder / "eda.json"
    given = ["--data", str(data), "--format", "json", "--out", str(out), "--storage", str(folder), "--folds", "2"]
    assert main(given) == 0
    return json.loads(out.read_text())


def test_of_a_folder(tmp_path: Path) -> None:
    found = inventory(write_phantom(tmp_path / "phantom", images=40, seed=3), tmp_path)
    (source,) = found["sources"]
    assert source == found["total"]
    assert source["layout"] == "busi"
    assert source["images"] == sum(source["labels"].values()) == sum(source["split"].values())
    assert source["images"] + source["left_out"] == 40
    assert source["masks"] == source["labels"]["benign"] + source["labels"]["malignant"]
    assert (source["left_over"], source["patients"], source["spacing_mm"]) == (0, None, None)
    assert source["warnings"] == ["patients unknown: images of one patient may be in train and in test"]


def test_of_each_source_of_a_table(tmp_path: Path) -> None:
    images = write_phantom(tmp_path / "phantom", images=40, seed=3)
    rows = ["image,label,patient,source,machine"]
    for number, file in enumerate(sorted(file for file in images.glob("*/*.png") if "_mask" not in file.stem)):
        rows.append(f"{file},{file.parent.name},{number // 2},{'AB'[number % 2]},M")
    (tmp_path / "images.csv").write_text("\n".join(rows) + "\n")
    found = inventory(tmp_path / "images.csv", tmp_path)
    assert [source["name"] for source in found["sources"]] == ["A", "B"]
    assert {source["patients"] for source in found["sources"]} == {20}
    assert found["total"]["patients"] == 40, "patient 1 of two sources is two patients"
    assert found["total"]["subgroups"] == ["machine"]
    for name in CLASSES:
        assert sum(source["labels"].get(name, 0) for source in found["sources"]) == found["total"]["labels"][name]


def test_of_each_of_two_datasets(tmp_path: Path) -> None:
    clinics = two_sets.write(tmp_path / "sets")
    out = tmp_path / "eda.json"
    given = ["--data", *map(str, clinics), "--format", "json", "--out", str(out), "--storage", str(tmp_path / "runs")]
    assert main(given) == 0
    found = json.loads(out.read_text())
    first, second = found["sources"]
    assert (first["name"], first["layout"], first["patients"]) == ("clinic A", "busi", None)
    assert (second["name"], second["layout"], second["patients"]) == ("clinic B", "folders", 30)
    assert first["images"] + second["images"] == found["total"]["images"]
    assert found["total"]["left_out"] == first["left_out"] + second["left_out"]
    assert first["warnings"] == ["patients unknown: images of one patient may be in train and in test"]
    assert (second["warnings"], second["subgroups"], first["subgroups"]) == ([], [], [])
    assert set(first) == set(second) == set(found["total"])
