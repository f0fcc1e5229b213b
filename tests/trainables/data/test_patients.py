"""Patients are always spoken of: known, unknown, or named by something that nothing reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainables.data import CLASSES, DataError, Prepared, prepare, read_manifest

NAMES = [f"{patient}_{view}" for patient in ("ANAT", "BEKI", "CORA", "DUNE", "EFEU", "FINN") for view in (1, 2, 3)]


def folders(root: Path, names: list[str], *lines: str) -> Path:
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True, exist_ok=True)
    for name in names:
        mask = np.zeros((24, 24), np.uint8)
        mask[6:14, 6:14] = 255
        Image.fromarray(rng.integers(0, 255, mask.shape).astype(np.uint8)).save(root / f"images/{name}.png")
        Image.fromarray(mask).save(root / f"masks/{name}.png")
    if lines:
        (root / "labels.csv").write_text("\n".join(lines) + "\n")
    return root


def prepared(root: Path, patient: str = "") -> Prepared:
    return prepare(read_manifest(root, patient=patient), root / "cache", size=32, folds=2)


def labelled(names: list[str], column: str, value: str = "") -> list[str]:
    rows = [f"{name},{CLASSES[1 + i % 2]},{value or name[:4]}" for i, name in enumerate(names)]
    return [f"image,label,{column}", *rows]


def test_known_from_a_table(tmp_path: Path) -> None:
    data = prepared(folders(tmp_path, NAMES, *labelled(NAMES, "Case")))
    assert "patients: 6, from labels.csv" in data.notes
    assert len(np.unique(data.groups)) == 6


def test_unknown_and_a_prefix_that_may_name_them(tmp_path: Path) -> None:
    data = prepared(folders(tmp_path, NAMES))
    assert "patients unknown: images of one patient may be in train and in test" in data.notes
    assert (
        "warning: file names such as ANAT_1 and ANAT_2 may name patients: if so, give --patient '{patient}_{any}'"
        in data.notes
    )
    again = prepared(folders(tmp_path, NAMES), "{patient}_{any}")
    assert "patients: 6, from file names, as {patient}_{any}" in again.notes
    assert not any("warning" in note for note in again.notes)
    assert len(np.unique(again.groups)) == 6


@pytest.mark.parametrize("names", [[f"benign_{i}" for i in range(8)], [f"scan{i}" for i in range(8)]])
def test_a_word_for_all_names_nobody(names: list[str], tmp_path: Path) -> None:
    assert not any("warning" in note for note in prepared(folders(tmp_path, names)).notes)


def test_a_column_that_nothing_reads_is_named_with_the_flag_that_reads_it(tmp_path: Path) -> None:
    root = folders(tmp_path, NAMES, *labelled(NAMES, "exam_number"))
    told = "warning: nothing reads the column 'exam_number': if it names patients, give --patient exam_number"
    assert told in prepared(root).notes
    assert "patients: 6, from labels.csv" in prepared(root, "Exam_Number").notes


@pytest.mark.parametrize("nobody", ["NA", "nan", "Unknown", " "])
def test_words_for_nobody_join_nobody(nobody: str, tmp_path: Path) -> None:
    data = prepared(folders(tmp_path, NAMES, *labelled(NAMES, "patient", nobody)))
    assert "patients unknown: images of one patient may be in train and in test" in data.notes
    assert len(np.unique(data.groups)) == len(NAMES)


@pytest.mark.parametrize(
    ("patient", "message"),
    [
        ("{patient}#{any}", r"--patient \{patient\}#\{any\}: fits no file name, such as ANAT_1.png"),
        ("{patient}_{colour}", r"unknown field \{colour\}"),
        ("nobody", "no table names patients by 'nobody'"),
    ],
)
def test_what_names_no_patient_is_refused(patient: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_manifest(folders(tmp_path, NAMES), patient=patient)
