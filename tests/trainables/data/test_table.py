"""A table becomes a manifest: the right records, and a line for everything that does not fit."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from trainables.data import CLASSES, UNKNOWN, DataError, Manifest, Record, read_manifest

NORMAL, BENIGN, MALIGNANT = (CLASSES.index(name) for name in ("normal", "benign", "malignant"))


def read(folder: Path, *lines: str, layout: str = "auto") -> Manifest:
    folder.mkdir(exist_ok=True)
    (folder / "images.csv").write_text("\n".join([*lines, ""]), encoding="utf-8")
    return read_manifest(folder / "images.csv", layout)


def told(manifest: Manifest) -> list[str]:
    return [str(fault).removeprefix(f"{manifest.root.parent}/") for fault in manifest.faults]


def test_every_column_of_a_table(tmp_path: Path) -> None:
    manifest = read(
        tmp_path / "tables",
        "Image, MASK ,label,patient,source,split,machine",
        "b.png,b_1.png; b_2.png ;b_1.png;,Benign,0012,BUSI,Train,A",
        "../other set/a.png,,NORMAL,NA,BrEaST,val,",
        f"{tmp_path}/c.png,/far/c.png,,,,TEST,B",
    )
    root = tmp_path / "tables" / "images.csv"
    assert (manifest.root, manifest.layout, manifest.faults) == (root, "csv", ())
    assert manifest.records == (
        Record(tmp_path / "c.png", (Path("/far/c.png"),), UNKNOWN, "", "", "test", (("machine", "B"),)),
        Record(tmp_path / "other set/a.png", (), NORMAL, "", "BrEaST", "validation", (("machine", ""),)),
        Record(
            tmp_path / "tables/b.png",
            (tmp_path / "tables/b_1.png", tmp_path / "tables/b_2.png"),
            BENIGN,
            "0012",
            "BUSI",
            "train",
            (("machine", "A"),),
        ),
    )


def test_where_the_mask_is_known(tmp_path: Path) -> None:
    rows = ["n.png,normal,", "b.png,benign,", "m.png,malignant,m_mask.png", "u.png,,u_mask.png"]
    manifest = read(tmp_path, "image,label,mask", *rows)
    known = {record.image.stem: record.has_mask for record in manifest.records}
    assert known == {"n": True, "b": False, "m": True, "u": True}
    manifest = read(tmp_path, "image,label", "n.png,normal", "b.png,benign")
    assert [record.has_mask for record in manifest.records] == [False, False]


@pytest.mark.parametrize(
    ("word", "side"),
    [
        ("train", "train"),
        ("Validation", "validation"),
        ("VAL", "validation"),
        ("valid", "validation"),
        ("test", "test"),
    ],
)
def test_words_for_the_sides_of_a_split(tmp_path: Path, word: str, side: str) -> None:
    assert [record.split for record in read(tmp_path, "image,label,split", f"a.png,benign,{word}").records] == [side]


FAULTY = [
    "label.png,m.png,cyst,train",
    "label-only.png,,cyst,train",
    "nothing.png,,,train",
    "split.png,m.png,benign,dev",
    "no-split.png,m.png,benign,",
    ",m.png,benign,train",
    "twice.png,m.png,benign,train",
    "./twice.png,m.png,Benign,train",
    "disagree.png,m.png,benign,train",
    "disagree.png,m.png,benign,test",
    "sound.png,m.png,benign,train",
]


def test_every_fault_of_a_table_has_its_line(tmp_path: Path) -> None:
    manifest = read(tmp_path, "image,mask,label,split", *FAULTY)
    splits = "(known: train, training, validation, val, valid, test, testing)"
    assert told(manifest) == [
        "disagree.png: rows of images.csv disagree; left out",
        "images.csv: row 6 names no image; ignored",
        "label-only.png: unknown label 'cyst' (known: normal, benign, malignant); left out",
        "label.png: unknown label 'cyst' (known: normal, benign, malignant); label unknown",
        f"no-split.png: no split {splits}; left out",
        "nothing.png: neither label nor mask; left out",
        f"split.png: unknown split 'dev' {splits}; left out",
        "twice.png: 2 rows of images.csv are the same; used once",
    ]
    assert [(record.image.stem, record.label) for record in manifest.records] == [
        ("label", UNKNOWN),
        ("sound", BENIGN),
        ("twice", BENIGN),
    ]


def test_order_of_rows_is_no_matter_but_to_the_number_of_a_row(tmp_path: Path) -> None:
    rows = [row for row in FAULTY if not row.startswith(",")]
    expected = read(tmp_path, "image,mask,label,split", *rows)
    for seed in range(5):
        shuffled = random.Random(seed).sample(rows, len(rows))
        assert read(tmp_path, "image,mask,label,split", *shuffled) == expected


def test_columns_of_few_values_are_subgroups(tmp_path: Path) -> None:
    header = "image,label,density,ten,eleven,empty,"  # the last column has no name, as an index that pandas writes
    rows = [f"{i}.png,benign,{'abc'[i % 3] if i else ''},{i % 10},{i},,{i % 2}" for i in range(11)]
    records = {record.image.stem: dict(record.subgroups) for record in read(tmp_path, header, *rows).records}
    assert records["0"] == {"density": "", "ten": "0"}
    assert records["10"] == {"density": "b", "ten": "0"}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["file,label", "a.png,benign"], r"images.csv: needs a column image, .* \(found: file, label\)"),
        (["image,patient", "a.png,1"], r"needs a column image, and mask or label or both.*\(found: image, patient\)"),
        (["image,label,Label", "a.png,benign,benign"], "two columns are named 'label'"),
        (
            ["image,label", "a.png,cyst"],
            r"no usable image in layout 'csv'.*1 faults, the first: .*a.png: unknown label",
        ),
        (["image,label"], "no usable image in layout 'csv'"),
        ([], "not a CSV file"),
    ],
)
def test_unusable_tables_are_one_line(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        read(tmp_path, *lines)
    assert "\n" not in str(error.value)


def test_the_layout_of_a_table_is_csv(tmp_path: Path) -> None:
    assert read(tmp_path, "image,label", "a.png,benign", layout="csv").layout == "csv"
    with pytest.raises(DataError, match="a table is of layout csv, not busi"):
        read(tmp_path, "image,label", "a.png,benign", layout="busi")
    with pytest.raises(DataError, match=r"a folder is not of layout csv; give the FILE.csv in it"):
        read_manifest(tmp_path, "csv")
    with pytest.raises(DataError, match=r"nowhere.csv: no such folder or table"):
        read_manifest(tmp_path / "nowhere.csv")


@pytest.mark.parametrize("separator", [";", "\t", ","])
def test_columns_stand_between_what_the_first_line_has_most_of(tmp_path: Path, separator: str) -> None:
    lines = [separator.join(cells) for cells in (("image", "label", "patient"), ("a.png", "Cancer", "7"))]
    (found,) = read(tmp_path, *lines).records
    assert (found.image.name, found.label, found.patient) == ("a.png", MALIGNANT, "7")
