"""Millimetres a pixel from tables: never a sub-group; what is no size is a line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.dicoms import write_dicom
from tests.support.replicas import Item, made, save, table
from trainables.data import Record, read_manifest


@pytest.fixture(scope="module")
def items() -> list[Item]:
    return made()


def folders(root: Path, items: list[Item], column: str, sizes: list[object]) -> None:
    rows: list[tuple[object, ...]] = [("image", "label", column)]
    for item, size in zip(items, sizes, strict=False):
        save(item.image, root / f"images/{item.number}.png")
        save(item.mask, root / f"masks/{item.number}.png")
        rows.append((f"{item.number}.png", item.name, size))
    table(root / "labels.csv", *rows)


def by_number(records: tuple[Record, ...]) -> dict[int, float]:
    return {int(record.image.stem): record.spacing_mm for record in records}


@pytest.mark.parametrize("column", ["pixel_mm", "Spacing_mm"])
def test_of_a_folder(column: str, items: list[Item], tmp_path: Path) -> None:
    folders(tmp_path, items, column, [0.07, "", "NA", 0, -1, "thin", "inf", '"0,08"'])
    found = read_manifest(tmp_path)
    assert by_number(found.records) == {1: 0.07, 2: 0, 3: 0, 4: 0, 5: 0, 6: 0, 7: 0, 8: 0.08}
    assert [(fault.file.name, fault.problem, fault.action) for fault in found.faults] == [
        (f"{number}.png", f"no size of a pixel: '{cell}' in labels.csv", "size unknown")
        for number, cell in ((4, 0), (5, -1), (6, "thin"), (7, "inf"))
    ]


def test_of_a_table(items: list[Item], tmp_path: Path) -> None:
    folders(tmp_path, items, "x", [""] * 8)
    rows = [f"images/{i}.png,masks/{i}.png,benign,{size},GE,3" for i, size in ((1, 0.07), (2, ""), (3, "wide"))]
    (tmp_path / "all.csv").write_text("\n".join(["image,mask,label,pixel_mm,machine,pixel_size", *rows]))
    found = read_manifest(tmp_path / "all.csv")
    assert by_number(found.records) == {1: 0.07, 2: 0, 3: 0}
    assert {record.subgroups for record in found.records} == {(("machine", "GE"),)}
    assert [(fault.file.name, fault.action) for fault in found.faults] == [("3.png", "size unknown")]
    assert found.warnings == ("warning: nothing reads the column 'pixel_size': call it pixel_mm if it is mm a pixel",)


def test_of_breast_in_its_unit(items: list[Item], tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl", reason="openpyxl is not installed")
    book = openpyxl.Workbook()
    book.active.append(("CaseID", "Image_filename", "Classification", "Pixel_size", "BIRADS"))
    for item in items:
        save(item.image, tmp_path / f"B/case{item.number:03}.png")
        save(item.mask, tmp_path / f"B/case{item.number:03}_tumor.png")
        book.active.append((item.number, f"case{item.number:03}.png", item.name, 0.0071, "4a"))
    book.save(tmp_path / "clinical.xlsx")
    found = read_manifest(tmp_path)
    assert {record.spacing_mm for record in found.records} == {0.071}, "cm in the workbook"
    assert {name for record in found.records for name, _ in record.subgroups} == {"birads"}


def test_a_table_and_a_header_that_disagree_are_a_line(tmp_path: Path) -> None:
    for number in range(3):
        write_dicom(tmp_path / f"P/IM{number}.dcm", np.full((4, 4), number, np.uint8), PixelSpacing=[0.1, 0.1])
    table(tmp_path / "labels.csv", ("file", "pixel_mm"), ("IM0.dcm", 0.2), ("IM1.dcm", 0.1), ("IM2.dcm", ""))
    found = read_manifest(tmp_path)
    assert [record.spacing_mm for record in found.records] == [0.2, 0.1, 0.1]
    assert [(fault.file.name, fault.problem, fault.action) for fault in found.faults] == [
        ("IM0.dcm", "0.1 mm a pixel in its header, 0.2 in labels.csv", "the table's is used")
    ]
