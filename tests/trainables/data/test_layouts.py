"""Folders become manifests: the right records with the right masks, and a line for everything that does not fit."""

from __future__ import annotations

import random
import unicodedata
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from pandas.errors import ParserWarning
from PIL import Image

from trainables.data.folders import read_manifest
from trainables.data.layouts import names
from trainables.data.manifest import CLASSES, UNKNOWN, DataError, Manifest


def marked(manifest: Manifest) -> bool:
    return all(record.marked for record in manifest.records)


def put(root: Path, *names: str) -> None:
    """Write a small grey image under each name."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 5), 9, np.uint8)).save(path)


def found(manifest: Manifest) -> dict[str, tuple[str, list[str]]]:
    """{image: (class, masks)} with paths relative to the root."""
    return {
        record.image.relative_to(manifest.root).as_posix(): (
            "unknown" if record.label == UNKNOWN else CLASSES[record.label],
            [mask.name for mask in record.masks],
        )
        for record in manifest.records
    }


def lines(manifest: Manifest) -> list[str]:
    """The faults as a user sees them, below the root."""
    return [str(fault).removeprefix(f"{manifest.root}/") for fault in manifest.faults]


def test_busi_layout(tmp_path: Path) -> None:
    put(tmp_path, *(f"benign/benign (1){end}.png" for end in ("", "_mask_10", "_mask_2", "_mask", "_mask_1")))
    put(tmp_path, "Malignant/größe é 2.PNG", "Malignant/größe é 2_mask.BMP", "Malignant/größe é 2_MASK_1.tif")
    put(tmp_path, "normal/normal (3).jpg", "normal/a.jpeg", "normal/a_mask.png")
    manifest = read_manifest(tmp_path)
    assert (manifest.root, manifest.layout, marked(manifest)) == (tmp_path, "busi", True)
    assert found(manifest) == {
        "Malignant/größe é 2.PNG": ("malignant", ["größe é 2_mask.BMP", "größe é 2_MASK_1.tif"]),
        "benign/benign (1).png": ("benign", [f"benign (1)_mask{end}.png" for end in ("", "_1", "_2", "_10")]),
        "normal/a.jpeg": ("normal", ["a_mask.png"]),
        "normal/normal (3).jpg": ("normal", []),
    }
    assert list(found(manifest)) == sorted(found(manifest))
    assert manifest.faults == ()


def test_a_missing_class_is_no_fault(tmp_path: Path) -> None:
    put(tmp_path, "benign/a.png", "benign/a_mask.png")
    manifest = read_manifest(str(tmp_path))
    assert found(manifest) == {"benign/a.png": ("benign", ["a_mask.png"])}
    assert manifest.faults == ()


def test_every_structure_fault_of_busi_has_its_line(tmp_path: Path) -> None:
    put(tmp_path, "benign/a.png", "benign/a_mask.png", "benign/b.png", "benign/c_mask.png", "benign/a_mask-2.png")
    put(tmp_path, "benign/.hidden.png", "normal/d.png", "benign/e.gif")
    for name in ("malignant/.DS_Store", "benign/notes.txt", "benign/table.csv", "normal/meta.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    manifest = read_manifest(tmp_path)
    assert list(found(manifest)) == ["benign/a.png", "normal/d.png"]
    assert lines(manifest) == [
        "benign/a_mask-2.png: mask without image; ignored",
        "benign/b.png: image without mask; left out",
        "benign/c_mask.png: mask without image; ignored",
        "benign/e.gif: not PNG, JPEG, BMP, TIFF, DICOM or NIfTI; ignored",
        "malignant: class has no images; ignored",
    ]


def test_class_folders_without_masks(tmp_path: Path) -> None:
    put(tmp_path, "benign/a.png", "NORMAL/b.tif")
    manifest = read_manifest(tmp_path)
    assert (manifest.layout, marked(manifest), manifest.faults) == ("classes", False, ())
    assert found(manifest) == {"NORMAL/b.tif": ("normal", []), "benign/a.png": ("benign", [])}


def test_layout_can_be_overridden(tmp_path: Path) -> None:
    put(tmp_path, "benign/a.png", "benign/a_mask.png", "images/x.png", "masks/x.png")
    with pytest.raises(
        DataError, match=r"2 of 4 images would be left over by layout busi .*; seen: benign: \*\.png 2, im"
    ):
        read_manifest(tmp_path)
    assert found(read_manifest(tmp_path, "busi")) == {"benign/a.png": ("benign", ["a_mask.png"])}
    assert found(read_manifest(tmp_path, "classes")) == {"benign/a.png": ("benign", [])}
    assert found(read_manifest(tmp_path, "folders")) == {"images/x.png": ("unknown", ["x.png"])}
    with pytest.raises(DataError, match=f"unknown layout 'dentist'; allowed: auto, {', '.join(names())}"):
        read_manifest(tmp_path, "dentist")


def test_separate_folders_without_a_table(tmp_path: Path) -> None:
    put(tmp_path, *(f"images/{name}" for name in ("a.png", "b (2).jpg", "ç.bmp", "d_mask.png", "e.png")))
    put(tmp_path, "masks/a.tif", "masks/b (2)_mask_2.png", "masks/b (2)_mask_1.png", "masks/ç_mask.png")
    put(tmp_path, "masks/d_mask.png", "masks/d_mask_mask.png", "masks/f.png", "masks/a_mask.webp")
    manifest = read_manifest(tmp_path)
    assert (manifest.layout, marked(manifest)) == ("folders", True)
    assert found(manifest) == {
        "images/a.png": ("unknown", ["a.tif"]),
        "images/b (2).jpg": ("unknown", ["b (2)_mask_1.png", "b (2)_mask_2.png"]),
        "images/d_mask.png": ("unknown", ["d_mask.png", "d_mask_mask.png"]),
        "images/ç.bmp": ("unknown", ["ç_mask.png"]),
    }
    assert lines(manifest) == [
        "images/e.png: image without mask; left out",
        "masks/a_mask.webp: not PNG, JPEG, BMP, TIFF, DICOM or NIfTI; ignored",
        "masks/f.png: mask without image; ignored",
    ]


TABLE = [
    "a,benign,P1",
    "b.PNG,MALIGNANT,P1",
    "c.png, Normal ,P2",
    "d,cyst,P3",
    "nobody.png,benign,P4",
    "f,benign,P5",
    "f.png,malignant,P5",
    unicodedata.normalize("NFD", "é,benign,NA"),
    '"g, 1",benign,0012',
    "h,benign,P6",
    "h,normal,P6",
]


def table_dataset(root: Path, rows: list[str], header: str = "Image,label,patient") -> Manifest:
    for name in ("a", "b", "d", "e", "f", "é", "g, 1"):
        put(root, f"images/{name}.png", f"masks/{name}.png")
    put(root, "images/c.png", "images/h.png")
    (root / "labels.csv").write_text("\n".join([header, *rows, ""]), encoding="utf-8-sig")
    return read_manifest(root)


def test_labels_and_patients_of_a_table(tmp_path: Path) -> None:
    manifest = table_dataset(tmp_path, TABLE)
    assert {record.image.stem: (record.label, record.patient) for record in manifest.records} == {
        "a": (CLASSES.index("benign"), "P1"),
        "b": (CLASSES.index("malignant"), "P1"),
        "c": (CLASSES.index("normal"), "P2"),
        "d": (UNKNOWN, "P3"),
        "e": (UNKNOWN, ""),
        "g, 1": (CLASSES.index("benign"), "0012"),
        "é": (CLASSES.index("benign"), ""),  # NA is nobody
    }
    assert lines(manifest) == [
        "images/d.png: unknown label 'cyst' in labels.csv (known: normal, benign, malignant); label unknown",
        "images/e.png: no row in labels.csv; label unknown",
        "images/f.png: rows of labels.csv disagree; left out",
        "images/h.png: rows of labels.csv disagree; left out",
        "labels.csv: row 'nobody.png' names no image; ignored",
    ]


def test_order_of_rows_is_no_matter(tmp_path: Path) -> None:
    expected = table_dataset(tmp_path, TABLE)
    for seed in range(5):
        assert table_dataset(tmp_path, random.Random(seed).sample(TABLE, len(TABLE))) == expected


@pytest.mark.parametrize("name", ["image", "file", "filename", "name", " FileName "])
def test_names_of_columns(tmp_path: Path, name: str) -> None:
    manifest = table_dataset(tmp_path, ["P7,a,benign"], header=f"group,{name},Label")
    assert [(r.label, r.patient) for r in manifest.records if r.image.stem == "a"] == [(CLASSES.index("benign"), "P7")]


def test_a_table_of_patients_alone_says_nothing_of_labels(tmp_path: Path) -> None:
    put(tmp_path, "images/a.png", "masks/a.png")
    (tmp_path / "labels.csv").write_text("file,patient\na,7\na,7\n")
    manifest = read_manifest(tmp_path)
    assert [(record.label, record.patient) for record in manifest.records] == [(UNKNOWN, "7")]
    assert manifest.faults == ()


def test_short_and_overlong_rows(tmp_path: Path) -> None:
    put(tmp_path, "images/a.png", "masks/a.png", "images/b.png", "masks/b.png")
    (tmp_path / "labels.csv").write_text("image,label,patient\na,benign\nb,benign,P1,\n")
    with pytest.raises(DataError, match=r"labels.csv: not a CSV file.*line 3"):
        read_manifest(tmp_path)
    (tmp_path / "labels.csv").write_text("image,label,patient\na,benign\nb,benign,P1\n")
    assert [record.patient for record in read_manifest(tmp_path).records] == ["", "P1"]
    (tmp_path / "labels.csv").write_text("image,patient\na,P2,\nb,P1,\n")  # a comma at the end of every row
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ParserWarning)  # of pandas from 3 on
        assert [record.patient for record in read_manifest(tmp_path).records] == ["P2", "P1"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a CSV file"),
        (b"image,label\n\xff\xfe\xfa,benign\n", "not a CSV file in UTF-8"),
        (b"number,label\n7,benign\n", r"call it one of image, file, filename, .* \(found: number, label\)"),
    ],
)
def test_unusable_tables_are_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    put(tmp_path, "images/a.png", "masks/a.png")
    (tmp_path / "labels.csv").write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        read_manifest(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "names", [["benign/a.png", "benign/a_mask.png"], ["images/a.png", "masks/a.png"], ["normal/a.png"]]
)
def test_one_level_below(tmp_path: Path, names: list[str]) -> None:
    inner = tmp_path / "data (copy) ü"
    put(inner, *names)
    put(tmp_path, ".cache/benign/x.png")
    (tmp_path / "LICENSE.txt").touch()
    manifest = read_manifest(tmp_path)
    assert manifest.root == inner
    assert len(manifest.records) == 1
    put(tmp_path / "second", *names)
    with pytest.raises(DataError, match=r"several datasets: data \(copy\) ü \(\w+\), second \(\w+\); give one"):
        read_manifest(tmp_path)
    assert read_manifest(inner).root == inner


def test_relative_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "set/benign/a.png")
    monkeypatch.chdir(tmp_path)
    manifest = read_manifest("set")
    assert manifest.root == tmp_path / "set"
    assert manifest.records[0].image.is_absolute()


def test_unusable_paths_are_one_clear_line(tmp_path: Path) -> None:
    put(tmp_path, "file.png", "deep/er/still/further/benign/a.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "hollow" / "benign").mkdir(parents=True)
    put(tmp_path, "bare/benign/a.png", "bare/malignant/b_mask.png")
    for name, message in [
        ("missing", "no such folder or table; give the folder"),
        ("file.png", "neither a folder nor a table; give the folder"),
        ("empty", r"no usable image.*seen: nothing; .*known layout \(.*; busi: .*; folders: .*; classes: .*\)"),
        ("deep", r"no usable image.*seen: er/still/further/benign: \*\.png 1; "),
        ("hollow", r"no usable image in layout 'classes'.*benign: class has no images"),
        ("bare", r"no usable image in layout 'busi'.*3 faults, the first: .*a.png: image without mask; left out"),
        ("file.csv", "no such folder or table"),
    ]:
        with pytest.raises(DataError, match=message) as error:
            read_manifest(tmp_path / name)
        assert "\n" not in str(error.value)
        assert str(tmp_path / name) in str(error.value)


def test_busi_at_its_original_bytes(busi_original: Path) -> None:
    manifest = read_manifest(busi_original)
    assert manifest.root == busi_original / "Dataset_BUSI_with_GT"
    assert (manifest.layout, manifest.faults) == ("busi", ())
    assert Counter(CLASSES[record.label] for record in manifest.records) == {"benign": 19, "malignant": 8, "normal": 9}
    several = {record.image.stem for record in manifest.records if len(record.masks) == 2}
    assert several == {"benign (4)", "benign (54)", "benign (58)", "benign (83)"}


def test_busi_at_256_pixels(busi_256: Path) -> None:
    manifest = read_manifest(busi_256)
    assert (manifest.layout, manifest.faults) == ("busi", ())
    assert Counter(CLASSES[record.label] for record in manifest.records) == {
        "benign": 349,
        "malignant": 168,
        "normal": 108,
    }
    assert Counter(len(record.masks) for record in manifest.records) == {1: 611, 2: 13, 3: 1}
    (triple,) = (record for record in manifest.records if len(record.masks) == 3)
    assert [mask.name for mask in triple.masks] == [f"benign (195)_mask{end}.png" for end in ("", "_1", "_2")]
