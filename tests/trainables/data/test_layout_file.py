"""A layout of one's own: a TOML file of the same form as the built-in ones."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.support.replicas import Item, made, save, table
from trainables.data import CLASSES, DataError, read_manifest

OWN = """
words = "our clinic"
images = ["{class}/scans/{patient}_{name}"]
masks = ["{class}/outlines/{patient}_{name}_contour"]
ignored = ["{**}preview/{name}"]

[classes]
B = "benign"
M = "malignant"
0 = "normal"

[table]
file = "readings.csv"
key = ["scan"]
label = ["code"]
subgroups = ["probe"]
"""


@pytest.fixture(scope="module")
def items() -> list[Item]:
    return [item for item in made() if item.name != "normal"]


def clinic(root: Path, items: list[Item]) -> None:
    rows: list[tuple[object, ...]] = [("scan", "code", "probe")]
    for item in items:
        folder = root / item.name[0].upper()
        save(item.image, folder / f"scans/{item.patient}_{item.number}.png")
        save(item.mask, folder / f"outlines/{item.patient}_{item.number}_contour.png")
        save(item.image, root / f"preview/{item.number}.png")
        rows.append((f"{item.patient}_{item.number}", "B" if item.name == "benign" else "M", "L14"))
    table(root / "readings.csv", *rows)


def test_it_reads_what_no_built_in_layout_does(items: list[Item], tmp_path: Path) -> None:
    clinic(tmp_path / "data", items)
    own = tmp_path / "clinic.toml"
    own.write_text(OWN)
    with pytest.raises(DataError):
        read_manifest(tmp_path / "data")
    found = read_manifest(tmp_path / "data", str(own))
    assert (found.layout, found.left_over, found.faults) == ("clinic", 0, ())
    assert Counter(CLASSES[record.label] for record in found.records) == {"benign": 4, "malignant": 4}
    assert len({record.patient for record in found.records}) == 4
    assert {record.subgroups for record in found.records} == {(("probe", "L14"),)}
    assert all(record.masks for record in found.records)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("images = [", "not TOML"),
        ("", "images: field required"),
        ('images = "{name}"', "images: input should be a valid tuple"),
        ('images = ["{name}"]\nmask = ["x"]', "mask: unexpected keyword argument"),
        ('images = ["{nam}"]', r"unknown field \{nam\} in '\{nam\}': choose from class, split"),
        ('images = ["{name}"]\n[classes]\nB = "good"', "classes.B: 'good' is none of normal, benign, malignant"),
        ('images = ["{name}"]\n[table]\nfile = "a.csv"\nkeys = ["x"]', "table.keys: unexpected keyword argument"),
    ],
)
def test_what_is_wrong_with_it_is_one_line(text: str, problem: str, tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(text)
    with pytest.raises(DataError, match=problem) as caught:
        read_manifest(tmp_path, str(own))
    assert str(caught.value).startswith(f"--layout {own}: ")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.toml: No such file"):
        read_manifest(tmp_path, str(tmp_path / "gone.toml"))
